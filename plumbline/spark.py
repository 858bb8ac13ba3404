"""The distributed engine: Spark reads the log in shards, brings each entity's events and rows together, and calls the
same evaluation as the local engine in every bucket."""

import math
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from plumbline import local_engine, log_commits, spark_tasks
from plumbline.durations import DAY
from plumbline.entity_rows import EntityRows
from plumbline.log_files import LogFiles, open_log
from plumbline.log_rows import Reading, check_columns, is_streamed, rows_of
from plumbline.log_times import int64_values
from plumbline.spark_tasks import Job, Shard
from plumbline.view_evaluation import RowRequest, ViewRequest, WindowedRequest

if TYPE_CHECKING:
    from plumbline.offline_store import WindowedOfflineStoreConfig

SHARD_ROWS = 1_000_000
"""Row groups are read in runs of about this many rows."""
BUCKET_ROWS = 400_000
"""Events and entity rows that a bucket should hold."""
PARCELS = "bucket int, holds int, arrow binary"
ANSWERS = "error string, arrow binary"


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


def features_of(spark: SparkSession, rows: EntityRows, requests: Sequence[ViewRequest], as_known: bool) -> pa.Table:
    """What local_engine.features_of answers, evaluated in Spark: views over one log and the same keys in one job.

    Raises what the local engine raises, and PySparkException where Spark fails.
    """
    features: dict[str, pa.ChunkedArray] = {}
    for _, group in groupby(sorted(requests, key=_affinity), key=_affinity):
        together = list(group)
        if not together[0].row_keys or not len(rows.at):
            table = local_engine.features_of(rows, together, as_known)
            features |= {name: table[name] for request in together for name in request.outputs}
        else:
            features |= _retried(spark, rows, together, as_known)
    table = rows.table
    for request in requests:
        for name in request.outputs:
            table = table.append_column(name, features[name])
    return table


def _affinity(request: ViewRequest) -> tuple[str, ...]:
    """Requests of one affinity are evaluated together."""
    windowed = isinstance(request, WindowedRequest)
    return str(windowed), repr(request.source), repr(_join_keys(request)), repr(request.row_keys)


def _join_keys(request: ViewRequest) -> tuple[str, ...]:
    return request.spec.join_keys if isinstance(request, WindowedRequest) else request.join_keys


def _retried(spark: SparkSession, rows: EntityRows, requests: list[ViewRequest], as_known: bool) -> dict[str, pa.ChunkedArray]:
    """Once more when a file vanished under a task (a compaction replaced small files by a large one)."""
    try:
        return _evaluated(spark, rows, requests, as_known)
    except PySparkException as error:
        if "FileNotFoundError" not in str(error):
            raise
        return _evaluated(spark, rows, requests, as_known)


def _evaluated(
    spark: SparkSession, rows: EntityRows, requests: list[ViewRequest], as_known: bool
) -> dict[str, pa.ChunkedArray]:
    log, reading, streamed = _opened(requests[0], _reading(requests, rows))
    shards = _shards(log)
    held = sum(fragment.metadata.num_rows for fragment in log.fragments) + len(rows.at)
    job = Job(
        source=log.source,
        reading=reading,
        requests=tuple(requests),
        join_keys=_join_keys(requests[0]),
        row_keys=requests[0].row_keys,
        empty=rows_of(log.without_rows(), reading, streamed),
        keys=rows.table.select(list(requests[0].row_keys)).slice(0, 0).rename_columns(list(_join_keys(requests[0]))),
        streamed=streamed,
        judged=streamed and isinstance(requests[0], WindowedRequest),
        buckets=max(4 * spark.sparkContext.defaultParallelism, math.ceil(held / BUCKET_ROWS)),
        as_known=as_known,
    )
    parcels = spark.createDataFrame(spark_tasks.row_parcels(job, rows.table, rows.at))
    if shards:
        parcels = parcels.unionByName(_events(spark, job, shards))
    answers = parcels.groupBy("bucket").applyInArrow(spark_tasks.evaluator(job), ANSWERS).toArrow()
    return _in_order(answers, requests)


def _events(spark: SparkSession, job: Job, shards: list[Shard]) -> DataFrame:
    """The accepted events of the log as parcels by entity."""
    numbers = spark.range(0, len(shards), 1, len(shards))
    events = numbers.mapInArrow(spark_tasks.shard_reader(job, shards), PARCELS)
    return events.groupBy("bucket").applyInArrow(spark_tasks.judge(job), PARCELS) if job.judged else events


def _reading(requests: Sequence[ViewRequest], rows: EntityRows) -> Reading:
    """What all the requests need of their log; time bounds are set once it is known whether rules apply."""
    if isinstance(requests[0], WindowedRequest):
        return local_engine.event_reading([r for r in requests if isinstance(r, WindowedRequest)], rows)
    needed = dict.fromkeys(n for r in requests if isinstance(r, RowRequest) for n in (*r.join_keys, *r.features))
    return Reading(tuple(needed), (), with_ids=False)


def _opened(request: ViewRequest, reading: Reading) -> tuple[LogFiles, Reading, bool]:
    """The log's files, what to read of them with its bounds, and whether rows may have come through a topic.

    The rules of a streamed log may look back any distance along a chain of deliveries, so it has no lower bound.
    """
    source, judged = request.source, isinstance(request, WindowedRequest)
    with local_engine.naming(request):
        manifest = log_commits.end_offsets(source.path)  # before the files are listed, so that all it promises is there
        log = open_log(source)
    check_columns(log, reading)
    streamed = is_streamed(log)
    if judged and streamed and reading.until_us is not None:
        margin_us = source.allowed_lateness_us + DAY
        reading = replace(reading, since_us=None, until_us=reading.until_us + margin_us)
    return open_log(source, reading.since_us, reading.until_us), replace(reading, end_offsets=manifest), streamed


def _shards(log: LogFiles) -> list[Shard]:
    """Runs of row groups of about SHARD_ROWS rows, in the order of the log."""
    shards: list[Shard] = []
    place = 0
    for fragment, partition in zip(log.fragments, log.partitions, strict=True):
        groups: list[int] = []
        first = place
        for group in range(fragment.metadata.num_row_groups):
            groups.append(group)
            place += fragment.metadata.row_group(group).num_rows
            if place - first >= SHARD_ROWS:
                shards.append(Shard(fragment.path, partition, tuple(groups), first))
                groups, first = [], place
        if groups:
            shards.append(Shard(fragment.path, partition, tuple(groups), first))
    return shards


def _in_order(answers: pa.Table, requests: Sequence[ViewRequest]) -> dict[str, pa.ChunkedArray]:
    """The features of all buckets, put back into the order of the entity rows."""
    for error in answers["error"].drop_null().to_pylist():
        raise _raised(error)
    table = pa.concat_tables([spark_tasks.opened(answer) for chunk in answers["arrow"].chunks for answer in chunk])
    order = np.argsort(int64_values(table[spark_tasks.ROW]))
    table = table.take(pa.array(order))
    return {name: table[name] for request in requests for name in request.outputs}


def _raised(error: str) -> Exception:
    """An error that a bucket reported, as the local engine raises it."""
    kind, _, text = error.partition(": ")
    return OverflowError(text) if kind == "OverflowError" else ValueError(text)
