"""Entity rows as the distributed engine takes them: a table of the driver's, or a Spark DataFrame that never goes there."""

import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from plumbline.entity_rows import EntityRows, entity_rows
from plumbline.log_times import int64_values
from plumbline.parcels import PARCEL_SQL, ROWS, Carrier, Received, kept
from plumbline.spark_job import Job
from plumbline.spark_tasks import AT, ROW, Batches, row_parcels, task, whole_rows

DataFrame = Any
"""pyspark.sql.DataFrame; pyspark is an optional dependency, which spark.py alone imports."""
SparkSession = Any
"""pyspark.sql.SparkSession."""

PLACE_BITS = 33
"""Spark's monotonically_increasing_id: the partition's number above, the row's place in it in the lowest 33 bits."""
CHUNK_ROWS = range(10_000, 1_000_000)
"""How many rows a task takes at a time to make parcels of them."""
BOUNDS_SQL = "partition long, held long, low long, high long"

Pack = Callable[[pa.Table, pa.ChunkedArray, np.ndarray], Iterator[pa.RecordBatch]]
"""Makes parcels of entity rows, their instants and their numbers."""


class Rows(Protocol):
    """n entity rows: how many, a table of none of them, and themselves as parcels in Spark."""

    count: int
    empty: EntityRows

    def range_us(self) -> tuple[int, int] | None:
        """Earliest and latest instant in microseconds since the epoch; None where there is none."""

    def sample(self, most: int, columns: Sequence[str]) -> tuple[pa.Table, pa.ChunkedArray]:
        """Some of the rows, evenly taken, and their instants."""

    def by_entity(self, spark: SparkSession, job: Job) -> DataFrame:
        """Keys, instants and numbers, by entity."""

    def whole(self, spark: SparkSession, carrier: Carrier, rows_a_part: int) -> DataFrame:
        """All columns, by part of the result."""

    def apart(self, spark: SparkSession, carrier: Carrier, rows_a_part: int) -> "list[DataFrame]":
        """What must be collected beside the answers so that together() knows all columns."""

    def together(self, received: Received) -> pa.Table:
        """All columns, in the driver."""


class TableRows:
    """Entity rows that are in the driver."""

    def __init__(self, rows: EntityRows) -> None:
        self._rows = rows
        self.count = len(rows.at)
        self.empty = EntityRows(rows.table.slice(0, 0), rows.timestamp_column, rows.at.slice(0, 0))

    def range_us(self) -> tuple[int, int] | None:
        return self._rows.range_us()

    def sample(self, most: int, columns: Sequence[str]) -> tuple[pa.Table, pa.ChunkedArray]:
        taken = pa.array(np.arange(0, self.count, max(1, self.count // most)))
        return self._rows.table.select(list(dict.fromkeys(columns))).take(taken), self._rows.at.take(taken)

    def by_entity(self, spark: SparkSession, job: Job) -> DataFrame:
        keys = self._rows.table.select(list(dict.fromkeys(job.asked.row_keys)))
        return self._packed(spark, job.carrier, keys, partial(row_parcels, job))

    def whole(self, spark: SparkSession, carrier: Carrier, rows_a_part: int) -> DataFrame:
        return self._packed(spark, carrier, self._rows.table, partial(whole_rows, carrier, rows_a_part))

    def apart(self, spark: SparkSession, carrier: Carrier, rows_a_part: int) -> "list[DataFrame]":
        return []

    def together(self, received: Received) -> pa.Table:
        return self._rows.table

    def _packed(self, spark: SparkSession, carrier: Carrier, rows: pa.Table, pack: Pack) -> DataFrame:
        """Parcels of some columns, made by tasks where these can read what the driver writes."""
        if not carrier.folders:
            return spark.createDataFrame(pa.Table.from_batches(pack(rows, self._rows.at, np.arange(self.count))))
        share = math.ceil(self.count / spark.sparkContext.defaultParallelism)
        size = min(max(share, CHUNK_ROWS.start), CHUNK_ROWS.stop)
        firsts = range(0, self.count, size)
        path = carrier.keep([rows.append_column(AT, self._rows.at).slice(first, size) for first in firsts])

        @task
        def packed(batches: Batches) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                for number in batch.column(0).to_pylist():
                    chunk = pa.Table.from_batches([kept(path).get_batch(number)])
                    yield from pack(chunk.drop_columns([AT]), chunk[AT], firsts[number] + np.arange(len(chunk)))

        return spark.range(0, len(firsts), 1, len(firsts)).mapInArrow(packed, PARCEL_SQL)


class FrameRows:
    """Entity rows that are in Spark. The query runs once; its order is kept."""

    def __init__(self, frame: DataFrame, numbered: DataFrame) -> None:
        """numbered is frame with Spark's monotonically_increasing_id as column ROW."""
        self.empty = entity_rows(frame.limit(0).toArrow())
        self._frame = numbered.persist()
        weakref.finalize(self, self._frame.unpersist)
        bounds = self._frame.mapInArrow(_bounds, BOUNDS_SQL).toArrow().group_by("partition")
        totals = bounds.aggregate([("held", "sum"), ("low", "min"), ("high", "max")]).sort_by("partition")
        held = int64_values(totals["held_sum"])
        self.count = int(held.sum())
        self._first = dict(zip(totals["partition"].to_pylist(), (np.cumsum(held) - held).tolist(), strict=True))
        self._low, self._high = (_extreme(totals[name], of) for name, of in (("low_min", min), ("high_max", max)))

    def range_us(self) -> tuple[int, int] | None:
        return None if self._low is None or self._high is None else (self._low, self._high)

    def sample(self, most: int, columns: Sequence[str]) -> tuple[pa.Table, pa.ChunkedArray]:
        share = min(1.0, most / max(self.count, 1))
        rows = entity_rows(self._frame.select(*self.empty.table.column_names).sample(share, seed=0).toArrow())
        return rows.table, rows.at

    def by_entity(self, spark: SparkSession, job: Job) -> DataFrame:
        return self._packed(partial(row_parcels, job))

    def whole(self, spark: SparkSession, carrier: Carrier, rows_a_part: int) -> DataFrame:
        return self._packed(partial(whole_rows, carrier, rows_a_part))

    def apart(self, spark: SparkSession, carrier: Carrier, rows_a_part: int) -> "list[DataFrame]":
        return [self.whole(spark, carrier, rows_a_part)]

    def together(self, received: Received) -> pa.Table:
        table = received.table(ROWS, ROW)
        return self.empty.table if table is None else table.drop_columns([ROW])

    def _packed(self, pack: Pack) -> DataFrame:
        first = self._first

        @task
        def packed(batches: Batches) -> Iterator[pa.RecordBatch]:
            for rows, numbers in _chunks(batches):
                partitions, places = numbers >> PLACE_BITS, numbers & ((1 << PLACE_BITS) - 1)
                yield from pack(rows.table, rows.at, first[int(partitions[0])] + places)

        return self._frame.mapInArrow(packed, PARCEL_SQL)


@task
def _bounds(batches: Batches) -> Iterator[pa.RecordBatch]:
    """Which partition a task has, how many rows, and their earliest and latest instant."""
    for rows, numbers in _chunks(batches):
        low, high = rows.range_us() or (None, None)
        columns = {"partition": numbers[:1] >> PLACE_BITS, "held": [len(numbers)], "low": [low], "high": [high]}
        yield pa.record_batch({name: pa.array(values, pa.int64()) for name, values in columns.items()})


def _chunks(batches: Batches) -> Iterator[tuple[EntityRows, np.ndarray]]:
    """Rows and their numbers of about CHUNK_ROWS.stop rows."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(map(len, waiting)) >= CHUNK_ROWS.stop:
            yield _chunk(waiting)
            waiting = []
    if sum(map(len, waiting)):
        yield _chunk(waiting)


def _chunk(batches: list[pa.RecordBatch]) -> tuple[EntityRows, np.ndarray]:
    table = pa.Table.from_batches(batches)
    return entity_rows(table.drop_columns([ROW])), int64_values(table[ROW])


def _extreme(values: pa.ChunkedArray, of: Callable[[list[int]], int]) -> int | None:
    known = values.drop_null().to_pylist()
    return of(known) if known else None
