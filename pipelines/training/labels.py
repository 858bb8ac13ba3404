"""What is known of each transaction: its newest label by an instant."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa

from feature_repo.settings import Settings
from pipelines.training.periods import known_until_us
from plumbline import FeatureStore
from plumbline.durations import SECOND
from plumbline.event_log import LogNotFoundError, read_events
from plumbline.spec import log_source
from plumbline.view_spec import LogSource

TRANSACTION_COLUMNS = (
    "user_id", "merchant_id", "device_id", "event_type", "category", "channel", "country", "amount_cents",
)  # fmt: skip


class TrainingRefusedError(ValueError):
    """There is nothing honest to train on; the message says what is missing and what to run."""


class LabelsInOrder:
    """Labels sorted once by when they became known, so that what was known at an instant is found without sorting again.

    Of two labels of one instant the larger event_id is newer; a label without a verdict says nothing.
    """

    def __init__(self, labels: pd.DataFrame) -> None:
        known = labels[labels["is_fraud"].notna()].sort_values(["created_us", "event_id"])
        self._transaction, ids = pd.factorize(known["transaction_event_id"])
        self.ids = pd.Index(ids)
        self._created_us = known["created_us"].to_numpy()
        self._fraud = known["is_fraud"].to_numpy(dtype=np.float64)
        self._cents = known["fraud_amount_cents"].to_numpy(dtype=np.float64, na_value=np.nan)

    def newest(self, at_us: int) -> tuple[np.ndarray, np.ndarray]:
        """fraud (1.0, 0.0, NaN where nothing was known at at_us) and fraud_amount_cents (NaN where unknown) of each of ids."""
        place = np.full(len(self.ids), -1)
        known = np.searchsorted(self._created_us, at_us, side="right")
        np.maximum.at(place, self._transaction[:known], np.arange(known))
        said = place >= 0
        return np.where(said, self._fraud[place], np.nan), np.where(said, self._cents[place], np.nan)


@dataclass(frozen=True)
class KnownLog:
    """The accepted transactions and all labels that are known at known_until_us (microseconds).

    transactions  one row an event: event_id, time_us, created_us and TRANSACTION_COLUMNS, in order of time
    labels        one row a label: transaction_event_id, event_id, created_us, is_fraud, fraud_amount_cents
    """

    transactions: pd.DataFrame
    labels: pd.DataFrame
    known_until_us: int

    @cached_property
    def labels_in_order(self) -> LabelsInOrder:
        return LabelsInOrder(self.labels)

    @property
    def span_us(self) -> int:
        return int(self.transactions["time_us"].iloc[-1] - self.transactions["time_us"].iloc[0])


def read_known_log(store: FeatureStore, settings: Settings, now_us: int) -> KnownLog:
    """Both logs as the applied definitions name them.

    Raises TrainingRefusedError where a log is missing or empty, or no label is known yet.
    """
    transactions = _frame(log_of(store, "transactions"), TRANSACTION_COLUMNS)
    if transactions.empty:
        raise TrainingRefusedError(f"{settings.transactions_path} holds no transaction. Run `make data`.")
    appended = transactions["created_us"][transactions["source_partition"].notna()]
    newest_append_us = None if appended.empty else int(appended.max())
    until_us = known_until_us(settings.transactions_path, newest_append_us, now_us)
    labels = _frame(log_of(store, "labels"), ("transaction_event_id", "is_fraud", "fraud_amount_cents"))
    known = labels[labels["created_us"] <= until_us]
    if known.empty:
        raise TrainingRefusedError(_no_labels(settings, len(labels), until_us))
    transactions = transactions.drop_duplicates("event_id").sort_values(["time_us", "event_id"], ignore_index=True)
    return KnownLog(transactions, known, until_us)


def newest_known(labels: LabelsInOrder, at_us: int) -> pd.DataFrame:
    """The newest label of each transaction of which any was known at at_us: transaction_event_id (index), is_fraud (0 or 1),
    fraud_amount_cents (float64, NaN where unknown)."""
    fraud, cents = labels.newest(at_us)
    frame = pd.DataFrame({"is_fraud": fraud, "fraud_amount_cents": cents}, index=labels.ids)
    return frame[frame["is_fraud"].notna()]


def log_of(store: FeatureStore, source_name: str) -> LogSource:
    """The log of a push source, as the applied definitions declare it.

    Raises TrainingRefusedError where no applied view reads it.
    """
    for view in store.list_stream_feature_views():
        if view.stream_source is not None and view.stream_source.name == source_name:
            return log_source(view, store.repo_path)
    raise TrainingRefusedError(f"No applied feature view reads the log '{source_name}'. Run `make apply`.")


def _frame(source: LogSource, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        events = read_events(source, columns)
    except LogNotFoundError:
        raise TrainingRefusedError(f"There is no log at {source.path}. Run `make data`.") from None
    payload = events.drop_columns(["event_timestamp", "created_timestamp"])
    frame = payload.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    frame["time_us"] = events["event_timestamp"].cast("int64").to_numpy()
    frame["created_us"] = events["created_timestamp"].cast("int64").to_numpy()
    return frame


def _no_labels(settings: Settings, labels: int, until_us: int) -> str:
    if labels == 0:
        return f"{settings.labels_path} holds no label. Map a `label` column, or load the simulator: `make data`."
    at = np.datetime64(until_us // SECOND, "s")
    return (
        f"None of the {labels:,} labels in {settings.labels_path} was known at {at}Z. Train again when they are, or correct "
        "`label: {delay:}`."
    )
