"""One topic copied into its log by one Spark query, from wherever the log's manifests say that it stands."""

import functools
import logging
import threading
import time
from datetime import datetime
from typing import TYPE_CHECKING

from kafka import KafkaConsumer, TopicPartition

from feature_repo.kafka_address import client_options
from feature_repo.settings import Settings
from streaming import compaction, manifests
from streaming.archive_files import COPIED_SPARK, copy
from streaming.event_topics import EventTopic, allowed_lateness_us
from streaming.topic_query import TopicQuery

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

RECORDS_PER_BATCH = 200_000
EARLIEST = -2
"""Spark's word for a partition's first offset."""

log = logging.getLogger(__name__)


class TopicArchive:
    """One topic, its log, and the query that copies the one into the other."""

    def __init__(self, topic: EventTopic, settings: Settings) -> None:
        self.name = topic.name
        self._topic, self._servers = topic, settings.kafka_bootstrap_servers
        self._log = topic.log_path(settings)
        self._lateness_us = allowed_lateness_us(topic)
        self._committed: dict[int, int] = {}
        name = f"archive-{topic.name}"
        self._query = TopicQuery(name, topic.name, self._servers, settings.data_dir / "checkpoints" / name, RECORDS_PER_BATCH)
        self._scratch = settings.data_dir / "compacting" / topic.name
        self._writing = threading.Lock()

    def start(self, spark: "SparkSession") -> None:
        """Begin after the newest manifest; raises ArchiveRefused or KafkaError.

        The manifest is the truth: it is written after a batch's files, in one step. Spark's checkpoint, which knows
        nothing of them, is made anew, so that a lost or an old one changes nothing.
        """
        self._committed = manifests.recover(self._log)
        compaction.recover(self._log, self._scratch)
        offsets = self._starting_offsets()
        self._query.start(spark, {"subscribe": self.name}, offsets, self._write_batch)
        log.info("%s: copied into %s from offsets %s", self._topic.name, self._log, offsets)

    def failure(self) -> str | None:
        """Why the query ended, in Spark's words; None while it runs."""
        return self._query.failure()

    def compact(self, now: datetime) -> None:
        """Make one file of the small ones of each closed day, between two batches."""
        for folder in compaction.closed_days(self._log, now):
            with self._writing:
                files = compaction.compact(self._log, folder, self._scratch)
            log.info("%s: %d small files of %s are one", self.name, files, folder.name)

    def stop(self, within_s: float) -> None:
        """Let the batch at hand finish, at most `within_s` seconds, then end the query."""
        self._query.stop(within_s)

    def _write_batch(self, records: "DataFrame") -> None:
        with self._writing:
            self._write(records)

    def _write(self, records: "DataFrame") -> None:
        began_at = time.monotonic()
        task = functools.partial(
            copy, topic=self._topic.name, log=self._log, committed=self._committed, lateness_us=self._lateness_us
        )
        copied = records.mapInArrow(task, COPIED_SPARK).collect()
        ends = dict(self._committed)
        for row in copied:
            ends[row.partition] = max(ends.get(row.partition, -1), row.last_offset)
        if ends == self._committed:
            return
        manifests.commit(self._log, ends)
        self._committed = ends
        rows, refused = sum(row.rows for row in copied), sum(row.refused for row in copied)
        took_s = time.monotonic() - began_at
        log.info("%s: %d rows, %d refused, in %.2f s, to offsets %s", self._topic.name, rows, refused, took_s, ends)

    def _starting_offsets(self) -> dict[int, int]:
        """Next offset of every partition of the topic; raises ArchiveRefused when it is not in the topic."""
        with KafkaConsumer(**client_options(self._servers)) as consumer:
            partitions = [TopicPartition(self._topic.name, p) for p in consumer.partitions_for_topic(self._topic.name)]
            beginnings, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        return {p.partition: self._starting_offset(p, beginnings[p], ends[p]) for p in partitions}

    def _starting_offset(self, partition: TopicPartition, beginning: int, end: int) -> int:
        if partition.partition not in self._committed:
            if beginning:
                log.warning("%s[%d] begins at offset %d; earlier records are not in the log", *partition, beginning)
            return EARLIEST
        following = self._committed[partition.partition] + 1
        if beginning <= following <= end:
            return following
        raise manifests.ArchiveRefused(
            f"{self._log} ends at offset {following - 1} of {partition.topic}[{partition.partition}], but the topic "
            f"holds [{beginning}, {end}): its records in between are gone, or it is another topic. Name the right "
            "KAFKA_BOOTSTRAP_SERVERS, or another DATA_DIR."
        )
