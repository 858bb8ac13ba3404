"""A small log with frauds that only history shows: bursts of small payments at merchants the user never met."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.event_schema import LABELS, TRANSACTIONS
from feature_repo.row_level import add_columns, add_label_columns
from feature_repo.settings import Settings

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 30
END = START + timedelta(days=DAYS)
LABEL_DELAY = timedelta(days=2)
US = timedelta(microseconds=1)
PARTS_OF_A_BURST = 6


def write_world(settings: Settings, *, users: int = 120, frauds: int = 70, seed: int = 1) -> None:
    """Write transactions, labels (2 days late, of every payment), load.json and the record of the load."""
    payments = add_columns(_transactions(np.random.default_rng(seed), users, frauds))
    fraud = pc.is_valid(payments["session_id"])
    write_log(settings.transactions_path, TRANSACTIONS, payments)
    write_log(settings.labels_path, LABELS, add_label_columns(labels_of(payments, fraud)))
    write_periods(settings)
    commits = settings.transactions_path / "_commits"
    commits.mkdir(exist_ok=True)
    record = {"generation": 1, "shift_us": 0, "rows": payments.num_rows, "replaced_at": END.isoformat()}
    (commits / "history.json").write_text(json.dumps(record))


def write_periods(settings: Settings) -> None:
    settings.reports_path.mkdir(parents=True, exist_ok=True)
    delay = LABEL_DELAY.total_seconds()
    periods = {"source": "a test", "label_delay_s": delay, "gap_s": delay, "account_horizon_s": 86_400}
    (settings.reports_path / "load.json").write_text(json.dumps(periods))


def labels_of(payments: pa.Table, fraud: pa.Array) -> pa.Table:
    """One label for each payment, known LABEL_DELAY later."""
    known = pc.add(payments["event_timestamp"], pa.scalar(LABEL_DELAY, pa.duration("us")))
    kept = ["event_id", "event_timestamp", "user_id", "merchant_id", "device_id", "amount_cents"]
    table = payments.select(kept).append_column("transaction_event_id", payments["event_id"])
    table = table.append_column("created_timestamp", known)
    table = table.append_column("is_fraud", pc.cast(fraud, pa.int64()))
    cents = pc.if_else(fraud, payments["amount_cents"], pa.scalar(None, pa.int64()))
    return table.append_column("fraud_amount_cents", cents)


def write_log(path: Path, schema: pa.Schema, table: pa.Table) -> None:
    """Write rows as history of a log; columns that the table lacks are null."""
    columns = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    path.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns, schema=schema), path / "history-0.parquet")


def _transactions(random: np.random.Generator, users: int, frauds: int) -> pa.Table:
    usual = random.poisson(DAYS, users)
    owner = np.concatenate([np.repeat(np.arange(users), usual), np.repeat(random.integers(0, users, frauds), PARTS_OF_A_BURST)])
    burst = np.arange(len(owner)) >= usual.sum()
    seconds = random.uniform(0, DAYS * 86_400, len(owner))
    begin = np.repeat(random.uniform(0, (DAYS - 0.1) * 86_400, frauds), PARTS_OF_A_BURST)
    seconds[burst] = begin + np.tile(np.arange(PARTS_OF_A_BURST) * 90.0, frauds)
    merchant = np.where(burst, random.integers(0, 60, len(owner)), (owner * 7 + random.integers(0, 4, len(owner))) % 60)
    cents = np.exp(random.normal(7.6, 0.8, len(owner))).astype(np.int64) + 1
    time_us = int(START.timestamp()) * 1_000_000 + (seconds * 1e6).astype(np.int64)
    order = np.argsort(time_us, kind="stable")
    return pa.table(
        {
            "event_id": [f"e{i:05d}" for i in range(len(owner))],
            "event_timestamp": pa.array(time_us[order], pa.timestamp("us", tz="UTC")),
            "created_timestamp": pa.array(time_us[order], pa.timestamp("us", tz="UTC")),
            "user_id": [f"u{i:03d}" for i in owner[order]],
            "merchant_id": [f"m{i:02d}" for i in merchant[order]],
            "device_id": [f"d{i:03d}" for i in owner[order]],
            "event_type": pa.array(["payment"] * len(owner)),
            "category": pa.array(["food", "travel", "games"]).take(pa.array(merchant[order] % 3)),
            "country": pa.array(["FR"] * len(owner)),
            "channel": pa.array(["online", "card"]).take(pa.array(random.integers(0, 2, len(owner)))),
            "amount_cents": cents[order],
            "session_id": pa.array(["burst", None]).take(pa.array((~burst[order]).astype(int))),
        }
    )
