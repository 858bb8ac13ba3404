"""The definition, held against answers that were given under load: every count, sum, mean and maximum of two views."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from feature_repo.event_schema import TRANSACTIONS
from feature_repo.row_level import add_columns

SECONDS = {"m": 60, "h": 3_600, "d": 86_400}
RESOLUTION_US = ((3_600, 1), (2 * 86_400, 300_000_000), (30 * 86_400, 3_600_000_000))
"""Windows of up to so many seconds begin at a multiple of so many microseconds."""

CHECKED_VIEWS = ("user_activity", "user_payments")
CHECKED_FUNCTIONS = ("count", "sum", "mean", "max")


class Definition:
    """What every answer must be: events are those whose offset is at most the position that the answer names."""

    def __init__(self, events: Sequence[dict[str, Any]]) -> None:
        table = add_columns(pa.Table.from_pylist(list(events), schema=TRANSACTIONS))
        self._of_user: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in table.to_pylist():
            self._of_user[row["user_id"]].append(row)

    def wrong(self, answer: dict[str, Any]) -> list[str]:
        """The features of an answer that are not what the definition says; and how many were looked at is `checked`."""
        at = datetime.fromisoformat(answer["as_of"])
        return [
            f"{answer['user_id']} {name}: {given} is not {expected}"
            for name, given in answer["features"].items()
            if is_checked(name)
            for expected in (self._value(answer, name, at),)
            if not _equal(given, expected)
        ]

    def _value(self, answer: dict[str, Any], name: str, at: datetime) -> float | None:
        view, _, feature = name.partition("__")
        column, function, over = feature.rsplit("_", 2)
        window_s = int(over[:-1]) * SECONDS[over[-1]]
        slide_us = RESOLUTION_US[bisect_right([most for most, _ in RESOLUTION_US], window_s - 1)][1]
        at_us = round(at.timestamp() * 1e6)
        start_us = (at_us - window_s * 1_000_000) // slide_us * slide_us
        applied = answer["positions"][view].get("0", -1)
        values = [
            row[column]
            for row in self._of_user[answer["user_id"]]
            if row["source_offset"] <= applied
            and start_us <= round(row["event_timestamp"].timestamp() * 1e6) < at_us
            and row[column] is not None
        ]
        return _aggregate(function, values)


def is_checked(name: str) -> bool:
    """Whether the definition here covers a feature."""
    view, _, feature = name.partition("__")
    return view in CHECKED_VIEWS and feature.rsplit("_", 2)[1] in CHECKED_FUNCTIONS


def _aggregate(function: str, values: list[Any]) -> float | None:
    if function == "count":
        return len(values)
    if function == "sum":
        return sum(values)
    if not values:
        return None
    return max(values) if function == "max" else sum(values) / len(values)


def _equal(given: float | None, expected: float | None) -> bool:
    if given is None or expected is None:
        return given is expected
    return abs(given - expected) <= 1e-9 * abs(expected) if isinstance(expected, float) else given == expected
