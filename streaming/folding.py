"""The fold's loop: poll, admit, dead letters, apply, in an order in which a crash repeats work and loses none."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from plumbline import PositionsLost, StoreUnavailable
from plumbline.fold import FoldCounts, Prepared
from streaming.dead_letters import DeadLetters, letters_of
from streaming.door import Record, Refused, admit
from streaming.event_topics import EventTopic
from streaming.fold_metrics import FoldMetrics
from streaming.membership import Membership
from streaming.patience import Patience
from streaming.sources import Source, Sources
from streaming.starting_points import StartingPoints

POLL_MS = 200
BATCH_RECORDS = 5_000
BACKLOG_RECORDS = 2_000
"""A batch of as many is written while the next one is polled and prepared. Below, waiting makes larger batches and costs less:
at 5,000 events a second p50 of freshness is a quarter lower (2026-11-22, `make bench-stream`).
"""
PAUSE_AFTER_FAILURE_S = 1.0
LOOK_AROUND_S = 5.0
"""How often waiting partitions and changed views are looked for, the group's offsets committed and progress logged."""

log = logging.getLogger(__name__)

T = TypeVar("T")


class Folding:
    """Folds this fold's share of the topics of `sources` from one consumer."""

    def __init__(
        self,
        sources: Sources,
        consumer: KafkaConsumer,
        membership: Membership,
        dead_letters: DeadLetters,
        metrics: FoldMetrics,
        patience: Patience,
    ) -> None:
        self._sources, self._consumer, self._membership, self._dead_letters = sources, consumer, membership, dead_letters
        self._metrics, self._patience = metrics, patience
        self._starting_points = StartingPoints(consumer)
        self._next: dict[TopicPartition, int] = {}
        self._resumed_at: dict[TopicPartition, int] = {}
        self._looked_around_at = -LOOK_AROUND_S
        self._applied = 0
        self._writer = ThreadPoolExecutor(1, "writer")
        self._writing: tuple[Source, Future[None]] | None = None
        self._read_again: set[str] = set()
        """Topics that were polled before the store's positions were found to be others: what came then must not be written."""

    @property
    def has_joined(self) -> bool:
        """Whether the group has dealt this fold its share."""
        return self._membership.has_joined

    def step(self) -> None:
        """Fold what the topics have now, at most one micro-batch a topic. Raises Stopped."""
        if time.monotonic() - self._looked_around_at >= LOOK_AROUND_S:
            self._look_around()
        self._take_share()
        began_at = time.monotonic()
        self._read_again.clear()
        for topic, records in self._poll().items():
            self._fold(self._sources.by_topic[topic], records, began_at)
        self._measure_lag()

    def report(self) -> None:
        """Tell the group how far this fold has read."""
        self._finish_writing()
        self._membership.report(self._next)

    def _poll(self) -> dict[str, list[Record]]:
        """New records by topic, ascending offsets within each partition."""
        try:
            polled = self._consumer.poll(timeout_ms=POLL_MS, max_records=BATCH_RECORDS)
        except KafkaError as error:
            log.warning("Kafka: %r; the partitions are looked up again", error)
            self._finish_writing()
            for source in self._sources.by_topic.values():
                self._resume(source, self._starting_points.stop(source.topic.name))
            self._patience.pause(PAUSE_AFTER_FAILURE_S)
            return {}
        by_topic: dict[str, list[Record]] = defaultdict(list)
        for partition, records in polled.items():
            by_topic[partition.topic] += [
                Record(record.partition, record.offset, record.timestamp, record.key, record.value) for record in records
            ]
        return by_topic

    def _fold(self, source: Source, records: list[Record], began_at: float) -> None:
        """One micro-batch: prepared while the last one is written, then given to the writer. Dead letters are acknowledged
        before the positions move: a crash repeats them.
        """
        events, refused = admit(source.topic, records, source.lateness_us)
        ends = {record.partition: record.offset for record in records}
        self._bury(source.topic, records, refused, events)
        prepared = self._reach_store(lambda: source.fold.prepare(events, ends))
        self._finish_writing()
        if source.topic.name in self._read_again:
            return
        oldest_created_us = pc.min(events["created_timestamp"].cast(pa.int64())).as_py()
        self._writing = source, self._writer.submit(self._write, source, prepared, began_at, oldest_created_us)
        if len(records) < BACKLOG_RECORDS:
            self._finish_writing()

    def _write(self, source: Source, prepared: Prepared, began_at: float, oldest_created_us: int | None) -> None:
        """Write a batch and tell of it, on the writer's thread. Raises PositionsLost and Stopped."""
        counts = self._reach_store(lambda: source.fold.write(prepared))
        for partition, end in prepared.end_offsets.items():
            self._next[TopicPartition(source.topic.name, partition)] = end + 1
        self._count(source.topic.name, counts)
        self._metrics.observe_batch(began_at, oldest_created_us)

    def _finish_writing(self) -> None:
        """Wait until the batch at hand is written, if there is one. Where the store's positions are others, its topic is read
        again from there. Raises Stopped.
        """
        if self._writing is None:
            return
        (source, written), self._writing = self._writing, None
        try:
            written.result()
        except PositionsLost as reason:
            log.warning("%s", reason)
            self._metrics.positions_lost.inc()
            self._resume(source, self._starting_points.stop(source.topic.name))
            self._read_again.add(source.topic.name)

    def _bury(self, topic: EventTopic, records: list[Record], refused: list[Refused], events: pa.Table) -> None:
        letters = letters_of(topic, records, refused, events)
        if not letters:
            return
        self._patience.keep_trying(lambda: self._dead_letters.write(letters), KafkaError, "Dead letters")
        self._metrics.dead_letters.labels(topic.name, "refused").inc(len(refused))
        self._metrics.dead_letters.labels(topic.name, "too_late").inc(len(letters) - len(refused))

    def _count(self, topic: str, counts: FoldCounts) -> None:
        self._applied += counts.applied
        self._metrics.applied.labels(topic).inc(counts.applied)
        self._metrics.duplicates.labels(topic).inc(counts.duplicates)
        self._metrics.too_late.labels(topic).inc(counts.too_late)
        self._metrics.replayed.labels(topic).inc(counts.replayed)
        self._metrics.unreadable.labels(topic).inc(counts.unreadable)
        if counts.unreadable:
            log.warning("%s: %d damaged states stay as they are; run `make materialize`", topic, counts.unreadable)

    def _look_around(self) -> None:
        """Take up changed views, moved positions, and partitions that are new or waited; say how far the fold is."""
        self._finish_writing()
        for topic in self._sources.changed():
            self._metrics.begin(topic)
            self._starting_points.stop(topic)
        for source in self._sources.by_topic.values():
            self._follow_positions(source)
            waiting = self._starting_points.waiting_partitions(source.topic.name)
            if waiting:
                self._resume(source, waiting)
        now = time.monotonic()
        if self._applied:
            rate = self._applied / (now - self._looked_around_at)
            log.info("folded %s events (%s/s), %s behind", f"{self._applied:,}", f"{rate:,.0f}", f"{self._behind():,}")
            self.report()
        self._applied, self._looked_around_at = 0, now

    def _take_share(self) -> None:
        """Leave the partitions that the group gave to others and begin those that are new here."""
        for source in self._sources.by_topic.values():
            topic = source.topic.name
            own = self._membership.partitions(topic)
            known = set(self._starting_points.reading(topic)) | set(self._starting_points.waiting_partitions(topic))
            if known != own:
                self._finish_writing()
            if known - own:
                self._leave(topic, known - own)
            if own - known:
                self._resume(source, sorted(own - known))

    def _leave(self, topic: str, partitions: Collection[int]) -> None:
        self._starting_points.leave(topic, partitions)
        for partition in partitions:
            self._next.pop(TopicPartition(topic, partition), None)
            self._metrics.forget(topic, partition)

    def _follow_positions(self, source: Source) -> None:
        """Read on from the store's positions where they are no longer ours: emptied, or moved ahead by materialize."""
        partitions = self._starting_points.reading(source.topic.name)
        if not partitions:
            if self.has_joined:  # with no share, or waiting: the store's state is still worth knowing
                self._reach_store(source.fold.reach_store)
            return
        resume_at = self._reach_store(lambda: source.fold.resume(partitions))
        moved = [p for p in partitions if (resume_at[p] or 0) != self._expected(TopicPartition(source.topic.name, p))]
        if moved:
            log.warning("%s: the store's positions of partitions %s moved", source.topic.name, moved)
            self._metrics.positions_lost.inc()
            self._resume(source, moved)

    def _expected(self, partition: TopicPartition) -> int:
        """One after the store's position, as far as this fold knows: ahead of reading while that is for dead letters only."""
        return max(self._next[partition], self._resumed_at[partition])

    def _resume(self, source: Source, partitions: list[int]) -> None:
        resume_at = self._reach_store(lambda: source.fold.resume(partitions))
        started = self._patience.keep_trying(
            lambda: self._starting_points.start(source.topic.name, resume_at), KafkaError, "Kafka"
        )
        self._next |= started
        self._resumed_at |= {p: resume_at[p.partition] or 0 for p in started}
        for partition in partitions:
            is_waiting = TopicPartition(source.topic.name, partition) not in started
            self._metrics.waiting.labels(source.topic.name, partition).set(is_waiting)

    def _reach_store(self, call: Callable[[], T]) -> T:
        result = self._patience.keep_trying(
            call, StoreUnavailable, "Online store", on_failure=lambda: self._metrics.store_up.set(0)
        )
        self._metrics.store_up.set(1)
        return result

    def _lags(self) -> dict[TopicPartition, int]:
        """Records that are not folded yet. An offset without one, such as a transaction's end, is done once all is read."""
        ends = {partition: self._consumer.highwater(partition) for partition in self._consumer.assignment()}
        return {
            p: 0 if self._writing is None and self._consumer.position(p) >= end else max(0, end - self._next[p])
            for p, end in ends.items()
            if end is not None and p in self._next
        }

    def _behind(self) -> int:
        return sum(self._lags().values())

    def _measure_lag(self) -> None:
        for partition, lag in self._lags().items():
            self._metrics.lag.labels(*partition).set(lag)
            self._metrics.position.labels(*partition).set(self._next[partition] - 1)
