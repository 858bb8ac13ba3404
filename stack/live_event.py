"""A live event of the demo: a payment of a user whom the history knows, sent through Kafka like any other."""

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
from kafka import KafkaProducer

from feature_repo.kafka_address import client_options

AMOUNT_CENTS = 12_345
COPIED = ("user_id", "merchant_id", "device_id", "category", "channel", "country")


class NoHistoryError(RuntimeError):
    """The event log holds nobody who could pay."""


def payment_of_a_known_user(log: Path) -> dict[str, Any]:
    """A payment, now, as the newest event of the history would repeat itself; columns the history lacks are null."""
    days = sorted(log.glob("event_date=*"), reverse=True)
    for day in days:
        events = pads.dataset(day, format="parquet").to_table(columns=[*COPIED, "event_type", "event_timestamp"])
        events = events.sort_by([("event_timestamp", "descending")])
        for event in _payments_first(events):
            return {
                **{name: event[name] for name in COPIED},
                "event_type": "payment",
                "amount_cents": AMOUNT_CENTS,
                "event_id": f"demo-{uuid.uuid4().hex}",
                "event_timestamp": datetime.now(UTC).isoformat(timespec="microseconds"),
            }
    raise NoHistoryError(f"The event log {log} is empty. Run `make data`.")


def send(bootstrap_servers: str, event: dict[str, Any]) -> tuple[int, int]:
    """Send an event to the topic `transactions`, keyed by its user; its partition and offset once acknowledged."""
    producer = KafkaProducer(**client_options(bootstrap_servers), acks="all", linger_ms=0)
    try:
        sent = producer.send("transactions", json.dumps(event).encode(), key=event["user_id"].encode()).get(timeout=30)
        return sent.partition, sent.offset
    finally:
        producer.close()


def _payments_first(events: pa.Table) -> list[dict[str, Any]]:
    rows = events.slice(0, 1_000).to_pylist()
    return sorted((row for row in rows if row["user_id"]), key=lambda row: row["event_type"] != "payment")
