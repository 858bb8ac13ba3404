"""The distributed engine: Spark reads the log in shards, brings each entity's events and rows together, and calls the
same evaluation as the local engine in every bucket."""

import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import monotonically_increasing_id

from plumbline import local_engine, spark_tasks
from plumbline.entity_keys import EntityKeyError
from plumbline.entity_split import SAMPLE, split_of
from plumbline.log_append import write_parquet
from plumbline.log_times import LogSchemaError, int64_values
from plumbline.parcels import ERROR, FURTHER, MIXED, PARCEL_SQL, PATH, Carrier, Received
from plumbline.part_files import Finish, part_writer, published, staged
from plumbline.scratch import scratch_folders
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
ONE_MACHINE = re.compile(r"local(\[.*\])?")
"""Masters whose tasks run on the driver's machine, and see its files."""
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


class Attempt(NamedTuple):
    """How a call is evaluated: how far before its range the log is read, and whether deliveries are judged first."""

    margins: int = 2
    judged_first: bool = False


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
        with _carrier(self._spark) as carrier:

            def collected(attempt: Attempt) -> Received:
                frames = [*self._answers(carrier, attempt, ONE_PART), *self._rows.apart(self._spark, carrier, ONE_PART)]
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
            with _carrier(self._spark) as carrier:
                received = _attempted(partial(self._written, staging, partial(_finished, finish, self._columns), carrier))
            return published(staging, received.words(PATH), target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _written(self, staging: Path, finish: Finish, carrier: Carrier, attempt: Attempt) -> Received:
        share = math.ceil(self._rows.count / (2 * self._parallelism))
        size = min(max(share, FILE_ROWS.start), FILE_ROWS.stop)
        frames = [*self._answers(carrier, attempt, size), self._rows.whole(self._spark, carrier, size)]
        outputs = [asked.outputs for asked in self._groups]
        parts = reduce(DataFrame.unionByName, frames).repartitionById(math.ceil(self._rows.count / size), "place")
        return Received(parts.mapInArrow(part_writer(staging, size, outputs, finish), PARCEL_SQL).toArrow().to_batches())

    def _answers(self, carrier: Carrier, attempt: Attempt, rows_a_part: int) -> list[DataFrame]:
        """The answers to each group of views as parcels by part of the result."""
        frames = []
        for number, asked in enumerate(self._groups):
            job = self._job(asked, carrier, attempt)
            parcels = self._rows.by_entity(self._spark, job)
            if job.log.shards:
                parcels = parcels.unionByName(self._events(job))
            placed = parcels.repartitionById(job.split.count, "place")
            frames.append(placed.mapInArrow(spark_tasks.evaluator(job, number, rows_a_part), PARCEL_SQL))
        return frames

    def _events(self, job: Job) -> DataFrame:
        """The events of the log as parcels by entity, the accepted ones where they are judged first."""
        numbers = self._spark.range(0, len(job.log.shards), 1, len(job.log.shards))
        events = numbers.mapInArrow(spark_tasks.shard_reader(job), PARCEL_SQL)
        for judging in (spark_tasks.once(job), spark_tasks.judge(job)) if job.judged_first else ():
            events = events.repartitionById(job.split.count, "place").mapInArrow(judging, PARCEL_SQL)
        return events

    def _job(self, asked: Asked, carrier: Carrier, attempt: Attempt) -> Job:
        rows = self._rows
        log = opened(asked, rows.range_us(), attempt.margins)
        sample, at = rows.sample(SAMPLE, asked.row_keys)
        hashed = spark_tasks.row_hashes(asked, log.empty, sample, len(at))
        held = log.held + rows.count
        spread = min(4 * self._parallelism, math.ceil(held / BUCKET_ROWS.start))
        others = max(1, spread, math.ceil(held / BUCKET_ROWS.stop))
        split = split_of(hashed, int64_values(at), rows.count, others, asked.reach_us)
        keys = rows.empty.table.select(list(asked.row_keys)).rename_columns(list(asked.join_keys))
        return Job(asked, log, split, keys, self._as_known, carrier, attempt.judged_first and log.streamed and asked.windowed)

    @property
    def _columns(self) -> list[str]:
        """The columns of the result: the entity rows' own, then the features in the order they were asked for."""
        return [*self._rows.empty.table.column_names, *(name for request in self._requests for name in request.outputs)]

    @property
    def _parallelism(self) -> int:
        return self._spark.sparkContext.defaultParallelism


@contextmanager
def _carrier(spark: SparkSession) -> Iterator[Carrier]:
    """How parcels travel meanwhile: in files where every task runs on this machine, on disk in Spark's scratch folder."""
    if not ONE_MACHINE.fullmatch(str(spark.sparkContext.master)):
        yield Carrier()
        return
    scratch = spark.sparkContext.getConf().get("spark.local.dir", "").split(",")[0] or None
    with scratch_folders(scratch) as folders:
        yield Carrier(folders)


def _finished(finish: Finish, columns: Sequence[str], table: pa.Table) -> pa.Table:
    return finish(table.select(columns))


def _attempted(run: Callable[[Attempt], Received]) -> Received:
    """What a run gives, after reading as far back as the log's duplicates ask for; once more when a file vanished under a
    task (a compaction replaced small files by a large one)."""
    attempt, vanished = Attempt(), False
    while True:
        try:
            received = run(attempt)
        except PySparkException as error:
            if vanished or "FileNotFoundError" not in str(error):
                raise
            vanished = True
            continue
        further, mixed = bool(received.words(FURTHER)), bool(received.words(MIXED))
        if not further and not mixed:
            break
        attempt = Attempt(attempt.margins * (4 if further else 1), attempt.judged_first or mixed)
    for error_text in sorted(received.words(ERROR)):
        raise _raised(error_text)
    return received


def _raised(error: str) -> Exception:
    """An error that a bucket reported, as the local engine raises it."""
    kind, _, text = error.partition(": ")
    return {known.__name__: known for known in (OverflowError, EntityKeyError, LogSchemaError)}.get(kind, ValueError)(text)
