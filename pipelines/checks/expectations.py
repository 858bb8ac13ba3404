"""What is expected of the kept log: what must hold refuses the load, what should hold only warns."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import great_expectations.expectations as gxe
import pandas as pd
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity

from feature_repo.event_schema import EVENT_TYPES, LABELS, MAX_AMOUNT_CENTS, TRANSACTIONS
from pipelines.checks import steadiness

WARNING = FailureSeverity.WARNING
FRESH_WITHIN = timedelta(days=7)
EVENT_MIX_DIVERGENCE = 0.1
AMOUNT_FACTOR = 3.0
"""Said when passed: the event types' Kullback-Leibler divergence (nats), the factor between the median amounts."""


@dataclass(frozen=True)
class Previous:
    """What the load before this one looked like: shares of event types, the median amount in cents."""

    event_mix: dict[str, float]
    median_amount_cents: float | None


def of_transactions(now: datetime, previous: Previous | None) -> list[Expectation]:
    """The suite of the transaction log; `now` is the time of loading, UTC."""
    return [*_must(TRANSACTIONS.names, now), *_transactions_must(), *_should(now), *_like_before(previous)]


def of_labels(now: datetime) -> list[Expectation]:
    """The suite of the label log. A label may lie ahead: it is then not yet known."""
    return [
        gxe.ExpectTableColumnsToMatchOrderedList(column_list=LABELS.names),
        *(
            gxe.ExpectColumnValuesToNotBeNull(column=name)
            for name in ("event_id", "transaction_event_id", "user_id", "created_timestamp")
        ),
        gxe.ExpectColumnValuesToBeUnique(column="event_id"),
        gxe.ExpectColumnValuesToBeInSet(column="is_fraud", value_set=[0, 1]),
        _known_after_it_happened(),
        gxe.ExpectColumnMaxToBeBetween(column="event_timestamp", max_value=now + timedelta(days=1)),
    ]


def of_days(days: pd.DataFrame) -> list[Expectation]:
    """The suite of steadiness.days_of: a type of event is not silent for a day, nor logged several times."""
    return [
        gxe.ExpectColumnValuesToBeBetween(
            column=str(kind),
            min_value=steadiness.FEWEST,
            max_value=steadiness.MOST,
            severity=WARNING,
            description=f"every day has {steadiness.FEWEST:g} to {steadiness.MOST:g} times the usual number of {kind} events; "
            f"others: {', '.join(steadiness.unusual(days[kind])) or 'none'}",
        )
        for kind in days.columns
    ]


def of_shifts(shifts: dict[str, float]) -> list[Expectation]:
    """The suite of steadiness.shifts_of: profiles are distributed as they were."""
    return [
        gxe.ExpectColumnValuesToBeBetween(
            column=name,
            max_value=steadiness.MOST_PSI,
            severity=WARNING,
            description=f"{name} of the newest quarter is distributed as in the older half (population stability index at most "
            f"{steadiness.MOST_PSI:g}, found {found:.2f})",
        )
        for name, found in shifts.items()
    ]


def _must(columns: list[str], now: datetime) -> list[Expectation]:
    return [
        gxe.ExpectTableColumnsToMatchOrderedList(column_list=columns),
        gxe.ExpectTableRowCountToBeBetween(min_value=1),
        *(
            gxe.ExpectColumnValuesToNotBeNull(column=name)
            for name in ("event_id", "event_timestamp", "created_timestamp", "user_id")
        ),
        gxe.ExpectColumnValuesToBeUnique(column="event_id"),
        gxe.ExpectColumnMinToBeBetween(column="event_timestamp", min_value=datetime(1970, 1, 1, tzinfo=now.tzinfo)),
        gxe.ExpectColumnMaxToBeBetween(column="event_timestamp", max_value=now + timedelta(days=1)),
        _known_after_it_happened(),
    ]


def _transactions_must() -> list[Expectation]:
    return [
        gxe.ExpectColumnValuesToBeInSet(column="event_type", value_set=list(EVENT_TYPES)),
        gxe.ExpectColumnValuesToBeBetween(column="amount_cents", min_value=0, max_value=MAX_AMOUNT_CENTS),
        gxe.ExpectColumnValuesToBeNull(column="source_partition"),
        gxe.ExpectColumnValuesToBeNull(column="source_offset"),
        gxe.ExpectColumnValuesToBeInSet(column="too_late", value_set=[False]),
    ]


def _known_after_it_happened() -> Expectation:
    return gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="created_timestamp", column_B="event_timestamp", or_equal=True)


def _should(now: datetime) -> list[Expectation]:
    return [
        gxe.ExpectColumnMaxToBeBetween(
            column="event_timestamp",
            min_value=now - FRESH_WITHIN,
            severity=WARNING,
            description=f"the newest event is at most {FRESH_WITHIN.days} days old",
        ),
        gxe.ExpectColumnDistinctValuesToContainSet(
            column="event_type", value_set=["payment"], severity=WARNING, description="there are payments"
        ),
        gxe.ExpectColumnMedianToBeBetween(
            column="amount_cents",
            min_value=1,
            max_value=10**8,
            severity=WARNING,
            description="the median amount is between 1 cent and a million (is `scale` right?)",
        ),
    ]


def _like_before(previous: Previous | None) -> list[Expectation]:
    """Compared with the load before, where there was one."""
    if previous is None:
        return []
    found: list[Expectation] = [
        gxe.ExpectColumnKLDivergenceToBeLessThan(
            column="event_type",
            partition_object={"values": list(previous.event_mix), "weights": list(previous.event_mix.values())},
            threshold=EVENT_MIX_DIVERGENCE,
            tail_weight_holdout=0.001,
            severity=WARNING,
            description=f"the mix of event types is that of the load before (divergence below {EVENT_MIX_DIVERGENCE})",
        )
    ]
    if middle := previous.median_amount_cents:
        found.append(
            gxe.ExpectColumnMedianToBeBetween(
                column="amount_cents",
                min_value=middle / AMOUNT_FACTOR,
                max_value=middle * AMOUNT_FACTOR,
                severity=WARNING,
                description=f"the median amount is within a factor of {AMOUNT_FACTOR:g} of the load before",
            )
        )
    return found
