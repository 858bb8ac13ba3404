"""What a row of the event log looks like: one place for the loader, the stream and the features."""

import pyarrow as pa

EVENT_TYPES = ("view", "hold", "payment", "withdrawal")
MAX_AMOUNT_CENTS = 10**15
"""The door's limit: a larger amount in minor units is a mistake, not money (the engine itself takes any int64)."""
LONGEST_ID = 256
"""Characters of an id or category that the service takes."""
CONTROL_CHARACTERS = r"\x00-\x1f\x7f-\x9f"
"""Of a regular expression's class: they stand in no text of an event."""

ALLOWED_LATENESS = {"transactions": "1d", "labels": "180d"}
"""How long after its time an event may reach its topic and still count, by log; one that comes later is too late."""

TIMESTAMP = pa.timestamp("us", tz="UTC")

EVENT = [
    ("event_id", pa.string()),
    ("event_timestamp", TIMESTAMP),
    ("created_timestamp", TIMESTAMP),
    ("source_partition", pa.int32()),
    ("source_offset", pa.int64()),
]
"""The columns every log has; partition and offset are null for history that never went through Kafka."""

TRANSACTION_PAYLOAD = [
    ("user_id", pa.string()),
    ("merchant_id", pa.string()),
    ("device_id", pa.string()),
    ("event_type", pa.string()),
    ("category", pa.string()),
    ("channel", pa.string()),
    ("country", pa.string()),
    ("amount_cents", pa.int64()),
    ("session_id", pa.string()),
]

ROW_LEVEL = [
    ("payment_id", pa.string()),
    ("payment_cents", pa.int64()),
    ("hold_id", pa.string()),
    ("hold_cents", pa.int64()),
    ("withdrawal_id", pa.string()),
    ("withdrawal_cents", pa.int64()),
    ("view_id", pa.string()),
    ("night_id", pa.string()),
    ("small_payment_id", pa.string()),
]
"""Columns computed by row_level.add_columns when an event enters the log or the topic; null where they do not apply."""

TOO_LATE = [("too_late", pa.bool_())]

TRANSACTIONS = pa.schema(EVENT + TRANSACTION_PAYLOAD + ROW_LEVEL + TOO_LATE)

LABEL_PAYLOAD = [
    ("transaction_event_id", pa.string()),
    ("user_id", pa.string()),
    ("merchant_id", pa.string()),
    ("device_id", pa.string()),
    ("amount_cents", pa.int64()),
    ("is_fraud", pa.int64()),
    ("fraud_amount_cents", pa.int64()),
    ("fraud_id", pa.string()),
]
"""fraud_id is the label's event_id where is_fraud is 1, else null: counting it counts reported frauds."""

LABELS = pa.schema(EVENT + LABEL_PAYLOAD + TOO_LATE)
