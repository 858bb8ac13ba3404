"""One topic folded by one Spark query, from wherever the store's positions say that it stands."""

import functools
import json
import logging
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kafka import KafkaConsumer, TopicPartition

from feature_repo.settings import Settings
from streaming import fold_task
from streaming.fold_metrics import FoldMetrics
from streaming.fold_task import FOLDED_SPARK, Folded, fold_records
from streaming.sources import Source
from streaming.starting_points import StartingPoints
from streaming.topic_query import TopicQuery

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

RECORDS_PER_BATCH = 100_000

log = logging.getLogger(__name__)


class Interrupted(RuntimeError):
    """A batch was not folded to its end; the query begins anew from the store's positions."""


class TopicFold:
    """One topic: the fold of its events, and the query whose tasks carry it out on Spark's executors.

    The consumer reads nothing: it is asked about the topic, and says as the folds' group how far they have read.
    """

    def __init__(self, source: Source, settings: Settings, consumer: KafkaConsumer, metrics: FoldMetrics) -> None:
        self._source, self._consumer, self._metrics = source, consumer, metrics
        self._topic, self._servers = source.topic.name, settings.kafka_bootstrap_servers
        self._points = StartingPoints(consumer)
        self._resumed_at: dict[int, int | None] = {}
        self._reached: dict[int, int] = {}
        self._next: dict[int, int] = {}
        self._folding = threading.Lock()
        name = f"fold-{self._topic}"
        self._query = TopicQuery(name, self._topic, self._servers, settings.data_dir / "checkpoints" / name, RECORDS_PER_BATCH)

    def start(self, spark: "SparkSession") -> None:
        """Begin anew, at the store's positions; a partition whose next record is not in the topic waits.

        Raises StoreUnavailable and kafka.errors.KafkaError: call again.
        """
        self.stop(0)
        partitions = self._partitions()
        self._resumed_at = self._source.fold.resume(partitions)
        self._metrics.store_up.set(1)
        started = self._points.start(self._topic, self._resumed_at)
        self._next = {partition.partition: offset for partition, offset in started.items()}
        self._reached = {partition: self._resumed_at[partition] or 0 for partition in self._next}
        for partition in partitions:
            self._metrics.waiting.labels(self._topic, partition).set(partition not in self._next)
        if self._next:
            assigned = json.dumps({self._topic: sorted(self._next)})
            self._query.start(spark, {"assign": assigned}, self._next, self._fold)
            log.info("%s: folded from offsets %s", self._topic, self._next)

    def failure(self) -> str | None:
        """Why the query ended; None while it runs."""
        return self._query.failure()

    def stop(self, within_s: float) -> None:
        """Let the batch at hand finish, at most `within_s` seconds, then end the query."""
        self._query.stop(within_s)

    def must_begin_anew(self) -> bool:
        """Whether partitions were added, a waiting one may be read now, or the store lost what it had.

        While a batch runs its tasks look by themselves. Raises StoreUnavailable and kafka.errors.KafkaError.
        """
        if not self._folding.acquire(blocking=False):
            return False
        try:
            resume_at = self._source.fold.resume(self._partitions())
            self._metrics.store_up.set(1)
            lost = [p for p, reached in self._reached.items() if (resume_at.get(p) or 0) < reached]
            if lost:
                log.warning("%s: the store's positions of partitions %s went back", self._topic, lost)
                self._metrics.positions_lost.inc()
            waiting = resume_at.keys() - self._reached.keys()
            return bool(lost) or any(resume_at[p] != self._resumed_at.get(p, -1) for p in waiting)
        finally:
            self._folding.release()

    def measure(self) -> dict[TopicPartition, int]:
        """Tell the lag; partition -> one after the last record folded. Raises kafka.errors.KafkaError."""
        following = {TopicPartition(self._topic, partition): offset for partition, offset in self._next.items()}
        ends = self._consumer.end_offsets(list(following)) if following else {}
        for partition, end in ends.items():
            self._metrics.lag.labels(*partition).set(max(0, end - following[partition]))
            self._metrics.position.labels(*partition).set(following[partition] - 1)
        return following

    def _partitions(self) -> list[int]:
        self._consumer.topics()  # asks the broker; what follows would answer from memory
        return sorted(self._consumer.partitions_for_topic(self._topic) or ())

    def _fold(self, records: "DataFrame") -> None:
        """One batch, on the executors; what comes back are counts. Raises Interrupted."""
        with self._folding:
            began_at = time.monotonic()
            task = functools.partial(
                fold_records, topic=self._topic, fold=self._source.fold, bootstrap_servers=self._servers, expected=self._reached
            )
            folded = [Folded(**row.asDict()) for row in records.mapInArrow(task, FOLDED_SPARK).collect()]
            self._count(folded, began_at)
            for row in folded:
                if row.trouble:
                    self._interrupt(row)

    def _count(self, folded: Sequence[Folded], began_at: float) -> None:
        for row in (row for row in folded if not row.trouble):
            self._next[row.partition] = row.last_offset + 1
            self._reached[row.partition] = max(self._reached[row.partition], row.last_offset + 1)
            for name in ("applied", "duplicates", "too_late", "replayed", "unreadable"):
                getattr(self._metrics, name).labels(self._topic).inc(getattr(row, name))
            self._metrics.dead_letters.labels(self._topic, "refused").inc(row.refused)
            self._metrics.dead_letters.labels(self._topic, "too_late").inc(row.late_letters)
        if unreadable := sum(row.unreadable for row in folded):
            log.warning("%s: %d damaged states stay as they are; run `make materialize`", self._topic, unreadable)
        oldest = [row.oldest_created_us for row in folded if row.oldest_created_us is not None]
        self._metrics.observe_batch(began_at, min(oldest, default=None))
        applied, took_s = sum(row.applied for row in folded), time.monotonic() - began_at
        log.info("%s: folded %s events in %.2f s, to offsets %s", self._topic, f"{applied:,}", took_s, self._next)

    def _interrupt(self, row: Folded) -> None:
        if row.trouble == fold_task.STORE:
            self._metrics.store_up.set(0)
        if row.trouble == fold_task.POSITIONS:
            self._metrics.positions_lost.inc()
        raise Interrupted(f"{self._topic}: {row.said}")
