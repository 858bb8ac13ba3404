"""The distributed engine: Spark reads the log in shards, brings each entity's events and rows together, and calls the
same evaluation as the local engine in every bucket."""

import math
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import monotonically_increasing_id

from plumbline import local_engine, spark_tasks
from plumbline.entity_keys import EntityKeyError
from plumbline.entity_split import SAMPLE, split_of
from plumbline.log_append import write_parquet
from plumbline.log_times import LogSchemaError, int64_values
from plumbline.parcels import ERROR, FURTHER, PARCEL_SQL, PATH, Received
from plumbline.part_files import Finish, part_writer, published, staged
from plumbline.spark_job import Asked, Job
from plumbline.spark_plan import grouped, opened
from plumbline.spark_rows import FrameRows, Rows
from plumbline.view_evaluation import ViewRequest

if TYPE_CHECKING:
    from plumbline.offline_store import WindowedOfflineStoreConfig

BUCKET_ROWS = range(50_000, 400_000)
"""How many events and entity rows a bucket should hold."""
FILE_ROWS = range(50_000, 1_000_000)
"""How many rows a file of a saved training set has."""
ONE_PART = 2**62
"""Rows of a result that is not divided."""


def session(config: "WindowedOfflineStoreConfig") -> SparkSession:
    """The active Spark session, or a new one as feature_store.yaml says: UTC, this Python in the workers.

    A local master binds to loopback only.
    """
    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    settings = {
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.showConsoleProgress": "true",
        "spark.driver.maxResultSize": "0",
    }
    if config.spark_master.startswith("local"):
        settings |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", "spark.ui.enabled": "false"}
    builder = SparkSession.builder.appName("plumbline").master(config.spark_master)
    for name, value in (settings | (config.spark_conf or {})).items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def frame_rows(frame: DataFrame) -> FrameRows:
    """The rows of a Spark DataFrame as entity rows, in its order."""
    return FrameRows(frame, frame.withColumn(spark_tasks.ROW, monotonically_increasing_id()))


class History:
    """Historical features of entity rows, evaluated in Spark: views over one log and the same keys in one job.

    Raises what the local engine raises, and PySparkException where Spark fails.
    """

    def __init__(self, spark: SparkSession, rows: Rows, requests: Sequence[ViewRequest], as_known: bool) -> None:
        self._spark, self._rows, self._requests, self._as_known = spark, rows, requests, as_known
        self._groups = grouped(requests)

    def to_arrow(self) -> pa.Table:
        """What local_engine.features_of answers, in the driver."""
        if not self._rows.count:
            return local_engine.features_of(self._rows.empty, self._requests, self._as_known)
        outputs = [asked.outputs for asked in self._groups]

        def collected(margins: int) -> Received:
            frames = [*self._answers(margins, ONE_PART), *self._rows.apart(self._spark, ONE_PART)]
            return Received(reduce(DataFrame.unionByName, frames).toArrow().to_batches())

        received = _attempted(collected)
        table = spark_tasks.assembled(self._rows.together(received), received, outputs)
        return table.select(self._columns)

    def write(self, target: Path, finish: Finish) -> list[str]:
        """Write what to_arrow gives as a folder of Parquet files, from the tasks; their paths in the order of the rows.

        finish is applied to the rows of each file. The folder appears whole, in the place of whatever was there.
        """
        staging = staged(target)
        try:
            if not self._rows.count:
                write_parquet(finish(self.to_arrow()), staging / "part-00000.parquet")
                return published(staging, ["part-00000.parquet"], target)
            received = _attempted(partial(self._written, staging, partial(_finished, finish, self._columns)))
            return published(staging, received.words(PATH), target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _written(self, staging: Path, finish: Finish, margins: int) -> Received:
        share = math.ceil(self._rows.count / (2 * self._parallelism))
        size = min(max(share, FILE_ROWS.start), FILE_ROWS.stop)
        frames = [*self._answers(margins, size), self._rows.whole(self._spark, size)]
        outputs = [asked.outputs for asked in self._groups]
        parts = reduce(DataFrame.unionByName, frames).repartitionById(math.ceil(self._rows.count / size), "place")
        return Received(parts.mapInArrow(part_writer(staging, size, outputs, finish), PARCEL_SQL).toArrow().to_batches())

    def _answers(self, margins: int, rows_a_part: int) -> list[DataFrame]:
        """The answers to each group of views as parcels by part of the result."""
        frames = []
        for number, asked in enumerate(self._groups):
            job = self._job(asked, margins)
            parcels = self._rows.by_entity(self._spark, job)
            if job.log.shards:
                parcels = parcels.unionByName(self._events(job))
            placed = parcels.repartitionById(job.split.count, "place")
            frames.append(placed.mapInArrow(spark_tasks.evaluator(job, number, rows_a_part), PARCEL_SQL))
        return frames

    def _events(self, job: Job) -> DataFrame:
        """The accepted events of the log as parcels by entity."""
        numbers = self._spark.range(0, len(job.log.shards), 1, len(job.log.shards))
        events = numbers.mapInArrow(spark_tasks.shard_reader(job), PARCEL_SQL)
        if not job.judged:
            return events
        return events.repartitionById(job.split.count, "place").mapInArrow(spark_tasks.judge(job), PARCEL_SQL)

    def _job(self, asked: Asked, margins: int) -> Job:
        rows = self._rows
        log = opened(asked, rows.range_us(), margins)
        sample, at = rows.sample(SAMPLE, asked.row_keys)
        hashed = spark_tasks.row_hashes(asked, log.empty, sample, len(at))
        held = log.held + rows.count
        spread = min(4 * self._parallelism, math.ceil(held / BUCKET_ROWS.start))
        others = max(1, spread, math.ceil(held / BUCKET_ROWS.stop))
        split = split_of(hashed, int64_values(at), rows.count, others, asked.reach_us)
        keys = rows.empty.table.select(list(asked.row_keys)).rename_columns(list(asked.join_keys))
        return Job(asked, log, split, keys, self._as_known)

    @property
    def _columns(self) -> list[str]:
        """The columns of the result: the entity rows' own, then the features in the order they were asked for."""
        return [*self._rows.empty.table.column_names, *(name for request in self._requests for name in request.outputs)]

    @property
    def _parallelism(self) -> int:
        return self._spark.sparkContext.defaultParallelism


def _finished(finish: Finish, columns: Sequence[str], table: pa.Table) -> pa.Table:
    return finish(table.select(columns))


def _attempted(run: Callable[[int], Received]) -> Received:
    """What a run gives, after reading as far back as the log's duplicates ask for; once more when a file vanished under a
    task (a compaction replaced small files by a large one)."""
    margins, vanished = 2, False
    while True:
        try:
            received = run(margins)
        except PySparkException as error:
            if vanished or "FileNotFoundError" not in str(error):
                raise
            vanished = True
            continue
        for error_text in sorted(received.words(ERROR)):
            raise _raised(error_text)
        if not received.words(FURTHER):
            return received
        margins *= 4


def _raised(error: str) -> Exception:
    """An error that a bucket reported, as the local engine raises it."""
    kind, _, text = error.partition(": ")
    return {known.__name__: known for known in (OverflowError, EntityKeyError, LogSchemaError)}.get(kind, ValueError)(text)
