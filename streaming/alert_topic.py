"""The topic `alerts`: each alert once, told apart by the id of its event and the name of its rule."""

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import msgspec
from kafka import KafkaProducer

from feature_repo.kafka_address import client_options
from streaming.event_topics import TRANSACTIONS, allowed_lateness_us
from streaming.topic_records import records

ALERTS = "alerts"
ACKNOWLEDGED_WITHIN_MS = 30_000

Alert = Mapping[str, Any]


class _Identified(msgspec.Struct):
    alert_id: str


class AlertTopic:
    """Writes alerts that are not in the topic yet: it is its own memory, so a crash anywhere repeats none.

    One process writes at a time (see alerts.py). An event of which a delivery may still count arrived within the allowed
    lateness, so the ids of twice that time are known. Thread-safe.
    """

    def __init__(self, bootstrap_servers: str) -> None:
        self._servers = bootstrap_servers
        self._known: set[str] | None = None
        self._producer: KafkaProducer | None = None
        self._one_at_a_time = threading.Lock()

    def write(self, alerts: Sequence[Alert]) -> list[Alert]:
        """Write what is new of the alerts and wait for the broker; returns those.

        Raises kafka.errors.KafkaError when one was not taken: call again, and what was written is found in the topic.
        """
        with self._one_at_a_time:
            known = self._ids()
            new = {alert["alert_id"]: alert for alert in alerts if alert["alert_id"] not in known}
            try:
                self._send(list(new.values()))
            except BaseException:
                self._forget()
                raise
            known.update(new)
            return list(new.values())

    def close(self) -> None:
        if self._producer is not None:
            self._producer.close(ACKNOWLEDGED_WITHIN_MS / 1000)

    def _ids(self) -> set[str]:
        """Ids of the alerts in the topic, read once after a start or a failure."""
        if self._known is None:
            since_ms = int(time.time() * 1000) - 2 * allowed_lateness_us(TRANSACTIONS) // 1000
            with closing(records(self._servers, ALERTS, since_ms)) as found:  # left open, its client holds up the exit for ever
                ids = {_id_of(record.value) for record in found}
            self._known = {alert_id for alert_id in ids if alert_id is not None}
        return self._known

    def _send(self, alerts: Sequence[Alert]) -> None:
        if not alerts:
            return
        self._producer = self._producer or KafkaProducer(
            **client_options(self._servers),
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_block_ms=ACKNOWLEDGED_WITHIN_MS,
            delivery_timeout_ms=ACKNOWLEDGED_WITHIN_MS,
            request_timeout_ms=ACKNOWLEDGED_WITHIN_MS // 3,
        )
        futures = [
            self._producer.send(ALERTS, value=msgspec.json.encode(alert), key=alert["user_id"].encode()) for alert in alerts
        ]
        self._producer.flush(ACKNOWLEDGED_WITHIN_MS / 1000)
        for future in futures:
            future.get(ACKNOWLEDGED_WITHIN_MS / 1000)

    def _forget(self) -> None:
        """What was written last is not known: the producer, and what it still had to send, is given up."""
        producer, self._producer, self._known = self._producer, None, None
        if producer is not None:
            producer.close(0)


def _id_of(value: bytes | None) -> str | None:
    """The id of a record of the topic; None where it is no alert: somebody else wrote it."""
    try:
        return msgspec.json.decode(value or b"", type=_Identified).alert_id
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def alert(event: Mapping[str, Any], rule: str, reason: str, **more: Any) -> dict[str, Any]:
    """An alert about an event (the log's columns); `more` is what its rule rests on."""
    kept = (
        "event_id",
        "user_id",
        "merchant_id",
        "device_id",
        "event_type",
        "amount_cents",
        "source_partition",
        "source_offset",
    )
    return {
        "alert_id": f"{event['event_id']}:{rule}",
        "rule": rule,
        "reason": reason,
        **{name: event[name] for name in kept},
        "event_timestamp": event["event_timestamp"].isoformat(),
        **more,
    }
