"""`python -m streaming.produce`: live events of existing users and their labels, into the topics."""

import argparse
import math
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError
from kafka.producer.future import FutureRecordMetadata

from feature_repo.kafka_address import client_options, hosts
from feature_repo.settings import Settings
from streaming.event_topics import LABELS, TRANSACTIONS
from streaming.live_profile import NobodyKnown, load_profile
from streaming.live_traffic import Traffic

TICK_S = 0.02
PROGRESS_EVERY_S = 5.0
LONGEST_LABEL_DELAY_S = 60.0
ACKNOWLEDGED_WITHIN_S = 30.0


class NotSent(RuntimeError):
    """The broker did not take an event; the message says what and what to do."""


class Producer:
    """Sends events keyed by user_id; every one is acknowledged by all replicas before `close` returns."""

    def __init__(self, bootstrap_servers: str, linger_ms: int = 5) -> None:
        """Raises NotSent when no broker answers within 5 seconds."""
        try:
            self._producer = KafkaProducer(
                **client_options(bootstrap_servers),
                acks="all",
                linger_ms=linger_ms,
                bootstrap_timeout_ms=5_000,
            )
        except KafkaError as error:
            raise NotSent(f"Kafka at {hosts(bootstrap_servers)} does not answer ({error!r}). Run `make up`.") from error
        self._unacknowledged: list[tuple[str, FutureRecordMetadata]] = []
        self.sent: Counter[str] = Counter()

    def send(self, topic: str, event: Mapping[str, Any]) -> FutureRecordMetadata:
        future = self._producer.send(topic, value=msgspec.json.encode(event), key=event["user_id"].encode())
        self._unacknowledged.append((topic, future))
        return future

    def acknowledge(self) -> None:
        """Wait for what was sent; raises NotSent naming the topic of the first event that was not taken."""
        try:
            self._producer.flush(ACKNOWLEDGED_WITHIN_S)
            for topic, future in self._unacknowledged:
                future.get(ACKNOWLEDGED_WITHIN_S)
                self.sent[topic] += 1
        except KafkaError as error:
            raise NotSent(
                f"Kafka did not take every event ({error!r}); taken: {dict(self.sent)}. See `make status`."
            ) from error
        self._unacknowledged = []

    def close(self) -> None:
        self._producer.close(ACKNOWLEDGED_WITHIN_S)


def send_events(
    settings: Settings, events: Iterable[Mapping[str, Any]], topic: str = TRANSACTIONS.name
) -> list[tuple[int, int]]:
    """Send events and wait for the broker; returns (partition, offset) of each, in order. Raises NotSent.

    events  the log's payload columns; event_timestamp is RFC 3339 text or an aware datetime
    """
    producer = Producer(settings.kafka_bootstrap_servers, linger_ms=0)
    try:
        futures = [producer.send(topic, event) for event in events]
        producer.acknowledge()
        return [(future.get().partition, future.get().offset) for future in futures]
    finally:
        producer.close()


def run(settings: Settings, rate: float, seconds: float, seed: int | None) -> None:
    """Send `rate` events a second for `seconds` seconds, then the labels that are left; prints progress and the counts.

    The schedule is open: what a slow moment held up is caught up, so rate x seconds events are sent in the end.
    Raises NobodyKnown and NotSent.
    """
    label_delay_s = min(LONGEST_LABEL_DELAY_S, seconds / 3)
    traffic = Traffic(load_profile(settings), seconds, label_delay_s, seed)
    producer = Producer(settings.kafka_bootstrap_servers)
    total, drawn, began_at = round(rate * seconds), 0, time.time()
    printed_at = began_at
    try:
        while drawn < total:
            now = time.time()
            for _ in range(min(total, math.ceil((now - began_at) * rate)) - drawn):
                producer.send(TRANSACTIONS.name, traffic.event(now))
                drawn += 1
            for label in traffic.labels(now):
                producer.send(LABELS.name, label)
            if now - printed_at >= PROGRESS_EVERY_S:
                producer.acknowledge()
                print(f"  {now - began_at:4.0f} s of {seconds:g} s: {_said(producer.sent)}", flush=True)
                printed_at = now
            time.sleep(TICK_S)
        for label in traffic.labels(math.inf):
            producer.send(LABELS.name, label)
        producer.acknowledge()
    finally:
        producer.close()
    bursts = ", ".join(f"{count} {name}" for name, count in sorted(traffic.bursts.items())) or "none"
    print(f"Sent {_said(producer.sent)} in {time.time() - began_at:.1f} s. Fraud bursts: {bursts}.")
    print(f"Labels follow {label_delay_s:.0f} s after their transaction here, where a real one takes days.")


def send_one(settings: Settings, event: Mapping[str, Any]) -> None:
    """Send one transaction, dated now, and print where it went."""
    dated = {"event_id": f"live-{uuid.uuid4().hex}", "event_timestamp": datetime.now(UTC), **event}
    (partition, offset), *_ = send_events(settings, [dated])
    print(f"Sent {dated['event_type']} {dated['event_id']} of {dated['user_id']}: partition {partition}, offset {offset}.")


def _said(sent: Counter[str]) -> str:
    return f"{sent[TRANSACTIONS.name]:,} transactions and {sent[LABELS.name]:,} labels"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m streaming.produce", description=__doc__)
    parser.add_argument("--rate", type=float, default=20, help="transactions a second")
    parser.add_argument("--seconds", type=float, default=60, help="how long to send")
    parser.add_argument("--seed", type=int, help="draw the same users, merchants and amounts again")
    one = parser.add_argument_group("one event instead of many")
    one.add_argument("--user", metavar="ID", help="send one transaction of this user")
    one.add_argument("--merchant", metavar="ID")
    one.add_argument("--device", metavar="ID")
    one.add_argument("--event-type", default="payment")
    one.add_argument("--amount-cents", type=int, default=1_000)
    return parser.parse_args()


def main() -> int:
    """Entry point; 1 with one clear line when nothing, or not everything, could be sent."""
    arguments, settings = _arguments(), Settings.from_env()
    try:
        if arguments.user is None:
            run(settings, arguments.rate, arguments.seconds, arguments.seed)
        else:
            names = {"user_id": "user", "merchant_id": "merchant", "device_id": "device"}
            event = {column: getattr(arguments, option) for column, option in names.items()}
            send_one(settings, {**event, "event_type": arguments.event_type, "amount_cents": arguments.amount_cents})
    except (NobodyKnown, NotSent) as problem:
        print(f"produce: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
