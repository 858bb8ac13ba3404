"""A row between the sources and the log: what the parsing tasks write and everything after them reads."""

from typing import Any

import pyarrow as pa

from feature_repo.event_schema import TRANSACTION_PAYLOAD

StagedRow = list[Any]
"""The values of COLUMNS, then the texts of the slowly changing columns; times in microseconds since the epoch, UTC."""

LABEL_TEXT = "label_text"
"""The label as it stands in the source, where the mapping says which text means fraud; else null."""

COLUMNS = [
    "event_id",
    "event_timestamp",
    "created_timestamp",
    *(name for name, _ in TRANSACTION_PAYLOAD),
    "is_fraud",
    "known_us",
    LABEL_TEXT,
    "scenario",
]
INTEGERS = ("event_timestamp", "created_timestamp", "amount_cents", "is_fraud", "known_us")


def staged_schema(extras: list[str]) -> pa.Schema:
    """Where a row comes from, why it (reason) or the whole load (fatal) is refused, its text, and its values.

    `extras` are the slowly changing columns; they stand as `extra_<name>`, as text.
    """
    origin = [("file", pa.int32()), ("row", pa.int64())]
    verdict = [("fatal", pa.string()), ("reason", pa.string()), ("original", pa.string())]
    values = [(name, pa.int64() if name in INTEGERS else pa.string()) for name in COLUMNS]
    return pa.schema([*origin, *verdict, *values, *((f"extra_{name}", pa.string()) for name in extras)])
