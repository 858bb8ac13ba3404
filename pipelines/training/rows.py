"""Entity rows and their outcomes: what each model is asked, when, and what turned out."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from pipelines.training.labels import KnownLog, TrainingRefusedError, newest_known

MAX_ACCOUNT_ROWS = 300_000


@dataclass(frozen=True)
class Outcomes:
    """What is known about n examples at one instant: fraud is 1.0, 0.0 or NaN (not known), loss_cents its amount."""

    fraud: np.ndarray
    loss_cents: np.ndarray


@dataclass(frozen=True)
class Examples:
    """n entity rows in order of time, ready for get_historical_features.

    entity_rows  (n, k): event_timestamp (UTC), join keys and request columns of the feature service
    start_us     (n,) when features are taken; end_us (n,) when the outcome's period ends, both microseconds
    notes        what was left out, one sentence each
    """

    entity_rows: pd.DataFrame
    start_us: np.ndarray
    end_us: np.ndarray
    log: KnownLog
    kind: str
    notes: tuple[str, ...]

    def only(self, mask: np.ndarray) -> "Examples":
        """The examples where mask (n,) is true, in the same order."""
        return replace(self, entity_rows=self.entity_rows[mask], start_us=self.start_us[mask], end_us=self.end_us[mask])

    def outcomes(self, at_us: int) -> Outcomes:
        """What was known of every example at at_us."""
        labels = self.log.labels_in_order
        if self.kind == "account":
            return _account_outcomes(self, newest_known(labels, at_us))
        fraud, cents = labels.newest(at_us)
        places = self._label_places  # -1, the last of each array, is NaN
        return Outcomes(np.append(fraud, np.nan)[places], np.append(cents, np.nan)[places])

    @cached_property
    def _label_places(self) -> np.ndarray:
        """(n,) place of each transaction in log.labels_in_order.ids, -1 without a label."""
        return self.log.labels_in_order.ids.get_indexer(self.log.transactions["event_id"].iloc[self.entity_rows.index])


def transaction_examples(log: KnownLog) -> Examples:
    """One example a labelled transaction, asked at its own instant.

    Raises TrainingRefusedError where no known label belongs to an accepted transaction.
    """
    labelled = log.labels["transaction_event_id"].drop_duplicates()
    rows = log.transactions[log.transactions["event_id"].isin(labelled)]
    if rows.empty:
        raise TrainingRefusedError(
            f"None of {len(labelled):,} labelled transactions is in the log: a label's transaction_event_id must be an "
            "event_id there."
        )
    missing = len(labelled) - len(rows)
    note = f"{missing:,} labelled transactions are not in the log (or came too late) and were left out."
    entity_rows = rows[["user_id", "merchant_id", "device_id"]].assign(
        event_timestamp=_timestamps(rows["time_us"]),
        transaction_amount_cents=rows["amount_cents"].astype("Int64"),
        transaction_event_type=rows["event_type"],
        transaction_category=rows["category"],
        transaction_channel=rows["channel"],
        transaction_country=rows["country"],
        transaction_time_us=rows["time_us"],
    )
    at_us = rows["time_us"].to_numpy()
    return Examples(entity_rows, at_us, at_us + 1, log, "transaction", (note,) if missing else ())


def account_examples(log: KnownLog, horizon_us: int, anchor_us: int, seed: int) -> Examples:
    """One example a user and horizon, from the user's first event to the log's end.

    Periods start at anchor_us and whole horizons before and after it: anchored at the start of the test, none is cut there.

    Above MAX_ACCOUNT_ROWS a random share of the users is taken, which leaves the base rate as it is.
    """
    known_users = log.transactions.dropna(subset="user_id")
    first_us = known_users.groupby("user_id", sort=True)["time_us"].min()
    last_step = (int(known_users["time_us"].max()) - anchor_us) // horizon_us
    first_step = (first_us.to_numpy() - anchor_us) // horizon_us + 1  # starts after the first event
    steps = np.maximum(last_step - first_step + 1, 0)
    taken, notes = _sample(steps, seed)
    users, first_step, counts = first_us.index.to_numpy()[taken], first_step[taken], steps[taken]
    user_id = np.repeat(users, counts)
    position = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    start_us = (np.repeat(first_step, counts) + position) * horizon_us + anchor_us
    order = np.argsort(start_us, kind="stable")
    start_us, user_id = start_us[order], user_id[order]
    entity_rows = pd.DataFrame({"user_id": user_id, "event_timestamp": _timestamps(pd.Series(start_us))})
    return Examples(entity_rows, start_us, start_us + horizon_us, log, "account", notes)


def _timestamps(at_us: pd.Series) -> pd.Series:
    return at_us.astype("datetime64[us]").dt.tz_localize("UTC")


def _sample(steps: np.ndarray, seed: int) -> tuple[np.ndarray, tuple[str, ...]]:
    if steps.sum() <= MAX_ACCOUNT_ROWS:
        return np.arange(len(steps)), ()
    shuffled = np.random.default_rng(seed).permutation(len(steps))
    taken = np.sort(shuffled[np.cumsum(steps[shuffled]) <= MAX_ACCOUNT_ROWS])
    return taken, (f"{len(taken):,} of {len(steps):,} users were taken at random to keep {MAX_ACCOUNT_ROWS:,} rows.",)


def _account_outcomes(examples: Examples, known: pd.DataFrame) -> Outcomes:
    """Positive when a transaction of [start, end) is known as fraud; a user without one is negative."""
    anchor_us = int(examples.start_us[0])
    horizon_us = int(examples.end_us[0]) - anchor_us
    frauds = known[known["is_fraud"] == 1]
    found = examples.log.transactions.merge(frauds, left_on="event_id", right_index=True)
    cents = found["fraud_amount_cents"].astype("Float64")
    loss = cents.groupby([found["user_id"], (found["time_us"] - anchor_us) // horizon_us]).sum(min_count=1)
    asked = pd.MultiIndex.from_arrays([examples.entity_rows["user_id"], (examples.start_us - anchor_us) // horizon_us])
    fraud = asked.isin(loss.index).astype(np.float64)
    return Outcomes(fraud, loss.reindex(asked).to_numpy(dtype=np.float64, na_value=np.nan))
