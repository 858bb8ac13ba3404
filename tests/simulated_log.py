"""The simulated world as an event log, written without the loader: for tests that look at models, not at loading."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from train_world import write_log

from feature_repo.event_schema import LABELS, TIMESTAMP, TRANSACTIONS
from feature_repo.row_level import add_columns, add_label_columns
from feature_repo.settings import Settings
from pipelines.simulate import history

NAMES = {
    "event_id": "id", "user_id": "customer", "merchant_id": "merchant", "device_id": "device", "event_type": "kind",
    "category": "category", "country": "country", "channel": "channel", "session_id": "session",
}  # fmt: skip


def write_simulated_log(settings: Settings, users: int, days: int, seed: int = history.SEED) -> None:
    """Transactions and labels of a world that ends at history.UNTIL_US."""
    raw = history.raw_rows(np.random.default_rng(seed), users, days)
    cents = pd.to_numeric(raw["amount"]).mul(100).round().astype("Int64")
    columns = {name: pa.array(raw[field]) for name, field in NAMES.items()}
    times = {"event_timestamp": _instants(raw["happened_at"]), "created_timestamp": _instants(raw["arrived_at"])}
    events = pa.table({**columns, **times, "amount_cents": pa.array(cents, pa.int64())})
    write_log(settings.transactions_path, TRANSACTIONS, add_columns(events))
    labelled = raw["fraud"].notna().to_numpy()
    fraud = pa.array(raw.loc[labelled, "fraud"].astype("int64"))
    told = events.filter(pa.array(labelled)).drop_columns(["created_timestamp"])
    told = told.append_column("transaction_event_id", told["event_id"])
    told = told.append_column("created_timestamp", _instants(raw.loc[labelled, "reported_at"]))
    told = told.append_column("is_fraud", fraud)
    told = told.append_column("fraud_amount_cents", pc.if_else(pc.equal(fraud, 1), told["amount_cents"], None))
    write_log(settings.labels_path, LABELS, add_label_columns(told))


def _instants(texts: pd.Series) -> pa.Array:
    return pa.array(pd.to_datetime(texts, format="ISO8601", utc=True).to_numpy("datetime64[us]").astype("int64")).cast(
        TIMESTAMP
    )
