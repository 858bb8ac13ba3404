"""The Spark query that hands the records of one topic, batch after batch, to a function of the driver."""

import functools
import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from feature_repo.kafka_address import spark_options

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming import StreamingQuery

TRIGGER = "1 second"
STOP_LOOK_S = 0.05


class TopicQuery:
    """One query over one topic; whoever owns it knows from where it begins, so its checkpoint is made anew each time."""

    def __init__(self, name: str, topic: str, bootstrap_servers: str, checkpoint: Path, records_per_batch: int) -> None:
        self._name, self._topic, self._servers = name, topic, bootstrap_servers
        self._checkpoint, self._records_per_batch = checkpoint, records_per_batch
        self._query: StreamingQuery | None = None

    def start(
        self,
        spark: "SparkSession",
        partitions: Mapping[str, str],
        offsets: Mapping[int, int],
        take: "Callable[[DataFrame], object]",
    ) -> None:
        """Begin anew: `take` is called with each batch (partition, offset, timestamp, key, value), one after the other.

        partitions  the option of Spark's Kafka source that says what is read: subscribe or assign
        offsets     partition -> offset of its first record
        """
        shutil.rmtree(self._checkpoint, ignore_errors=True)
        records = (
            spark.readStream.format("kafka")
            .options(**spark_options(self._servers), **partitions)
            .option("startingOffsets", json.dumps({self._topic: {str(p): offset for p, offset in offsets.items()}}))
            .option("kafka.isolation.level", "read_committed")
            .option("maxOffsetsPerTrigger", self._records_per_batch)
            .load()
            .select("partition", "offset", "timestamp", "key", "value")
        )
        self._query = (
            records.writeStream.foreachBatch(functools.partial(_take, take))
            .option("checkpointLocation", str(self._checkpoint))
            .trigger(processingTime=TRIGGER)
            .queryName(self._name)
            .start()
        )

    def failure(self) -> str | None:
        """Why the query ended, in Spark's words; None while it runs, before it was started and after it was stopped here."""
        if self._query is None or self._query.isActive:
            return None
        return str(self._query.exception() or "it was stopped").partition("\n")[0]

    def stop(self, within_s: float) -> None:
        """Let the batch at hand finish, at most `within_s` seconds, then end the query."""
        if self._query is None:
            return
        deadline = time.monotonic() + within_s
        while self._query.isActive and self._query.status["isTriggerActive"] and time.monotonic() < deadline:
            time.sleep(STOP_LOOK_S)
        self._query.stop()
        self._query = None


def _take(take: "Callable[[DataFrame], object]", records: "DataFrame", _batch_id: int) -> None:
    take(records)
