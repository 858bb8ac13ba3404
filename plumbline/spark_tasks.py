"""What Spark's workers do: read files of a log, sort rows into buckets, evaluate a bucket. Arrow in, Arrow out, no Spark.

Rows travel as Arrow bytes beside the number of their bucket, so Spark moves few and large rows and no type is converted.
Entities are hashed into buckets: all events and all entity rows of an entity meet in one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from plumbline.acceptance import accepted
from plumbline.entity_keys import comparable
from plumbline.hashing import buckets, hashes, spread
from plumbline.log_files import LogFiles, filesystem_of, parquet_fragment
from plumbline.log_rows import Reading, rows_of
from plumbline.log_times import int64_values, valid_mask
from plumbline.view_evaluation import ViewRequest, WindowedRequest, newest_of, windows_of

if TYPE_CHECKING:
    from plumbline.spec import LogSource

PLACE, ROW, AT = "__place", "__row", "__at"
"""Columns beside the log's own: where an event stood in the log; the number of an entity row, and its instant."""
EVENTS, ROWS = 0, 1
"""What a parcel holds."""
PARCEL = pa.schema([("bucket", pa.int32()), ("holds", pa.int32()), ("arrow", pa.binary())])
ANSWER = pa.schema([("error", pa.string()), ("arrow", pa.binary())])
PARCEL_ROWS = 262_144
"""Rows of a parcel at most, so that those of a hot entity stay far from Arrow's 2 GB."""

Batches = Iterable[pa.RecordBatch]


@dataclass(frozen=True)
class Shard:
    """Some row groups of one file, the values in its Hive folders, and the place of its first row in the log."""

    path: str
    partition: dict[str, str]
    row_groups: tuple[int, ...]
    first_place: int


@dataclass(frozen=True)
class Job:
    """Views that share a log and join keys, evaluated together.

    join_keys, row_keys  of the log, and the entity rows' columns for them
    empty                a table without rows: the log's columns in the types that all shards take
    keys                 a table without rows: the entity rows' join keys, under the log's names
    judged               whether the rules for duplicates and lateness apply
    buckets              how many there are
    """

    source: "LogSource"
    reading: Reading
    requests: tuple[ViewRequest, ...]
    join_keys: tuple[str, ...]
    row_keys: tuple[str, ...]
    empty: pa.Table
    keys: pa.Table
    streamed: bool
    judged: bool
    buckets: int
    as_known: bool


def shard_reader(job: Job, shards: Sequence[Shard]) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """For mapInArrow over shard numbers: the rows of each as parcels, by delivery where rules apply, else by entity."""

    def read(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                table = read_shard(job, shards[number])
                yield from parcels(table, _delivery(table, job) if job.judged else _entity(table, job), EVENTS)

    return read


def read_shard(job: Job, shard: Shard) -> pa.Table:
    """The rows of a shard in the job's types, with their places."""
    fragment = parquet_fragment(shard.path, filesystem_of(job.source.path)[0])
    part = LogFiles(job.source, (fragment.subset(row_group_ids=list(shard.row_groups)),), (shard.partition,))
    table = rows_of(part, job.reading, job.streamed)
    table = pa.table([table[field.name].cast(field.type) for field in job.empty.schema], schema=job.empty.schema)
    return table.append_column(PLACE, pa.array(shard.first_place + np.arange(table.num_rows)))


def judge(job: Job) -> Callable[[pa.Table], pa.Table]:
    """For applyInArrow over buckets of deliveries: the accepted rows, as parcels by entity."""

    def judged(group: pa.Table) -> pa.Table:
        table = _opened(group, EVENTS, PLACE)
        if table is None:
            return PARCEL.empty_table()
        table = table.filter(pa.array(accepted(table, job.source.allowed_lateness_us)))
        return pa.Table.from_batches(parcels(table, _entity(table, job), EVENTS), PARCEL)

    return judged


def row_parcels(job: Job, rows: pa.Table, at: pa.ChunkedArray) -> pa.Table:
    """The entity rows' keys, instants and numbers as parcels by entity."""
    keys = [
        comparable(job.empty[ours], rows[theirs], ours)[1] for ours, theirs in zip(job.join_keys, job.row_keys, strict=True)
    ]
    table = rows.select(list(dict.fromkeys(job.row_keys))).append_column(AT, at)
    table = table.append_column(ROW, pa.array(np.arange(rows.num_rows)))
    return pa.Table.from_batches(parcels(table, buckets(keys, job.buckets), ROWS), PARCEL)


def evaluator(job: Job) -> Callable[[pa.Table], pa.Table]:
    """For applyInArrow over buckets of entities: the features of the bucket's entity rows, or what is wrong with them."""

    def evaluated(group: pa.Table) -> pa.Table:
        rows = _opened(group, ROWS, ROW)
        if rows is None:
            return ANSWER.empty_table()
        events = _opened(group, EVENTS, PLACE)
        try:
            answer = _features(job, job.empty if events is None else events, rows)
        except (OverflowError, ValueError) as error:
            return pa.table([[f"{type(error).__name__}: {error}"], [b""]], schema=ANSWER)
        starts = range(0, answer.num_rows, PARCEL_ROWS)
        sealed = [_sealed(answer.slice(start, PARCEL_ROWS)) for start in starts]
        return pa.table([[None] * len(sealed), sealed], schema=ANSWER)

    return evaluated


def opened(parcel: pa.Scalar) -> pa.Table:
    """The table in a parcel."""
    return ipc.open_stream(parcel.as_buffer()).read_all()


def parcels(table: pa.Table, bucket: np.ndarray, holds: int) -> Iterator[pa.RecordBatch]:
    """A table's rows by bucket, in their order within it, as Arrow bytes."""
    if not len(bucket):
        return
    order = np.argsort(bucket, kind="stable")
    table = table.take(pa.array(order)).combine_chunks()
    numbers, starts = np.unique(bucket[order], return_index=True)
    for number, begin, end in zip(numbers, starts, [*starts[1:], len(order)], strict=True):
        for first in range(int(begin), int(end), PARCEL_ROWS):
            part = _sealed(table.slice(first, min(PARCEL_ROWS, int(end) - first)))
            yield pa.record_batch([[int(number)], [holds], [part]], schema=PARCEL)


def _features(job: Job, events: pa.Table, rows: pa.Table) -> pa.Table:
    columns = {ROW: rows[ROW]}
    for request in job.requests:
        if isinstance(request, WindowedRequest):
            columns |= windows_of(request, (events, None), rows, rows[AT], job.as_known, threads=1)
        else:
            columns |= newest_of(request, events, rows, rows[AT], job.as_known)
    return pa.table(columns)


def _entity(table: pa.Table, job: Job) -> np.ndarray:
    """The bucket of each row's entity; a null key may be in any."""
    return buckets([comparable(table[name], job.keys[name], name)[0] for name in job.join_keys], job.buckets)


def _delivery(table: pa.Table, job: Job) -> np.ndarray:
    """A bucket of each row in which every row is that may decide whether it counts: same partition, and same id if any."""
    partition, offset = int64_values(table["source_partition"]), int64_values(table["source_offset"])
    record = np.where(valid_mask(table["event_id"]), hashes(table["event_id"]), spread(offset))
    streamed = valid_mask(table["source_partition"]) & valid_mask(table["source_offset"])
    mixed = np.where(streamed, spread(record ^ spread(partition)), spread(int64_values(table[PLACE])))
    return ((mixed >> np.uint64(32)) % np.uint64(job.buckets)).astype(np.int64)


def _opened(group: pa.Table, holds: int, order_by: str) -> pa.Table | None:
    """The rows of a bucket's parcels of one kind, in order; None where there are none."""
    wanted = [i for i, kind in enumerate(group["holds"].to_pylist()) if kind == holds]
    if not wanted:
        return None
    table = pa.concat_tables([opened(group["arrow"][i]) for i in wanted])
    order = int64_values(table[order_by])
    return table if (np.diff(order) > 0).all() else table.take(pa.array(np.argsort(order)))


def _sealed(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()
