"""One judge's way through the live transactions: read, judged, alerts written, then its positions moved."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from feast.errors import FeatureViewNotFoundException
from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError

from feature_repo.kafka_address import client_options
from plumbline import FeatureStore, StoreUnavailable
from streaming.alert_judges import ApiAway, Judge, NotJudged
from streaming.alert_metrics import AlertMetrics
from streaming.alert_rules import JUDGED_TYPES
from streaming.alert_topic import AlertTopic
from streaming.door import Record, admit
from streaming.event_topics import TRANSACTIONS, allowed_lateness_us
from streaming.patience import Patience
from streaming.topic_records import starting_at

POLL_MS = 200
BATCH_RECORDS = 500
LOOK_AROUND_S = 5.0
LIVE_MS = 10 * 60 * 1000
"""Where a judge has no positions yet it begins this long ago: older events are no news, and the store looks back no further."""
FOLDED_VIEW = "user_activity"
FOLDED_WITHIN_S = 10.0
ASK_S = 0.01

log = logging.getLogger(__name__)
T = TypeVar("T")


class Follower:
    """Gives a judge every live transaction at least once; the alert's id makes its alerts appear once."""

    def __init__(
        self, servers: str, judge: Judge, store: FeatureStore, alerts: AlertTopic, metrics: AlertMetrics, patience: Patience
    ) -> None:
        self._judge, self._store, self._alerts = judge, store, alerts
        self._metrics, self._patience = metrics, patience
        self._consumer = KafkaConsumer(
            **client_options(servers),
            group_id=f"plumbline-alerts-{judge.name}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            metadata_max_age_ms=int(LOOK_AROUND_S * 1000),
            allow_auto_create_topics=False,
        )
        self._looked_around_at = -LOOK_AROUND_S

    def run(self, is_stopped: Callable[[], bool]) -> None:
        """Follow until stopped. Raises Stopped."""
        while not is_stopped():
            try:
                self.step()
            except KafkaError as error:
                log.warning("%s: Kafka: %r; the positions are read again", self._judge.name, error)
                self._consumer.unsubscribe()
                self._looked_around_at = -LOOK_AROUND_S
                self._patience.pause(1.0)

    def step(self) -> None:
        """Judge what there is now, at most one batch. Raises KafkaError and Stopped."""
        if time.monotonic() - self._looked_around_at >= LOOK_AROUND_S:
            self._look_around()
        polled = self._consumer.poll(timeout_ms=POLL_MS, max_records=BATCH_RECORDS)
        if polled:
            self._follow(polled)
        self._measure_lag()

    def _follow(self, polled: dict[TopicPartition, list[Any]]) -> None:
        records = [Record(r.partition, r.offset, r.timestamp, r.key, r.value) for of in polled.values() for r in of]
        events = [event for event in self._events(records) if event["event_type"] in JUDGED_TYPES]
        ends = {partition: of_partition[-1].offset for partition, of_partition in polled.items()}
        self._await_fold({partition.partition: offset for partition, offset in ends.items()})
        judged = self._keep_trying(lambda: self._judge.judge(events))
        found = [alert for alerts in judged if not isinstance(alerts, NotJudged) for alert in alerts]
        new = self._patience.keep_trying(lambda: self._alerts.write(found), KafkaError, "Alerts")
        self._consumer.commit({partition: OffsetAndMetadata(end + 1, "", -1) for partition, end in ends.items()})
        self._metrics.count(self._judge.name, judged, [alert["rule"] for alert in new])

    def _measure_lag(self) -> None:
        ends = {p: self._consumer.highwater(p) or 0 for p in self._consumer.assignment()}
        lag = sum(max(0, end - self._consumer.position(p)) for p, end in ends.items())
        self._metrics.lag.labels(self._judge.name).set(lag)

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=5_000)

    def _events(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        """The records that are events in time; what is wrong with the others is the fold's to tell."""
        events, _ = admit(TRANSACTIONS, records, allowed_lateness_us(TRANSACTIONS))
        return [event for event in events.to_pylist() if not event["too_late"]]

    def _await_fold(self, ends: dict[int, int]) -> None:
        """Wait a moment until the events before these count, so that a burst is seen while it happens."""
        deadline = time.monotonic() + FOLDED_WITHIN_S
        while time.monotonic() < deadline:
            folded = self._keep_trying(lambda: self._store.positions(FOLDED_VIEW))
            if all(folded.get(partition, -1) >= end for partition, end in ends.items()):
                return
            self._patience.pause(ASK_S)

    def _keep_trying(self, call: Callable[[], T]) -> T:
        away = (StoreUnavailable, FeatureViewNotFoundException, ApiAway)
        is_away = lambda: self._metrics.able.labels(self._judge.name).set(0)  # noqa: E731
        result = self._patience.keep_trying(call, away, f"Alerts by {self._judge.name}", on_failure=is_away)
        self._metrics.able.labels(self._judge.name).set(1)
        return result

    def _look_around(self) -> None:
        """Take up partitions that are not read yet, from the group's positions; tell the lag."""
        known = self._consumer.assignment()
        topic = {TopicPartition(TRANSACTIONS.name, p) for p in self._consumer.partitions_for_topic(TRANSACTIONS.name) or ()}
        new = sorted(topic - known)
        if new:
            starts = self._starts(new)
            self._consumer.assign([*known, *new])
            for partition, offset in starts.items():
                self._consumer.seek(partition, offset)
            log.info("%s: transactions are followed from %s", self._judge.name, {p.partition: o for p, o in starts.items()})
        self._measure_lag()
        self._metrics.following.labels(self._judge.name).set(1)
        self._looked_around_at = time.monotonic()

    def _starts(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        """The group's position of each partition where the topic still holds it, else where live events begin."""
        live = starting_at(self._consumer, partitions, int(time.time() * 1000) - LIVE_MS)
        ends = self._consumer.end_offsets(partitions)
        committed = {partition: self._consumer.committed(partition) for partition in partitions}
        return {p: at if (at := committed[p]) is not None and at <= ends[p] else live[p] for p in partitions}
