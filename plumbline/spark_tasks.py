"""What Spark's workers do: read files of a log, sort rows into buckets, evaluate a bucket. Arrow in, Arrow out, no Spark.

Each Task is a function for mapInArrow over a partition; what goes in and comes out are parcels.
"""

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache

import numpy as np
import pyarrow as pa

from plumbline.acceptance import accepted, is_streamed, recorded
from plumbline.delivery_claims import id_marks, is_mixed, marks_of, offset_marks
from plumbline.entity_keys import compared_with
from plumbline.event_log import reaches_back
from plumbline.hashing import buckets, entity_hashes, spread
from plumbline.log_files import LogFiles, filesystem_of, parquet_fragment
from plumbline.log_rows import rows_of
from plumbline.log_times import int64_values
from plumbline.parcels import ANSWERS, CLAIMS, ERROR, EVENTS, FURTHER, MIXED, ROWS, Carrier, Received, word
from plumbline.spark_job import Asked, Job, Shard
from plumbline.view_evaluation import WindowedRequest, newest_of, windows_of

PLACE, ROW, AT = "__place", "__row", "__at"
"""Columns beside the log's own: where an event stood in the log; the number of an entity row, and its instant."""

Batches = Iterable[pa.RecordBatch]
Task = Callable[[Batches], Iterator[pa.RecordBatch]]


def task(work: Task) -> Task:
    """A function of a worker. What the worker has imported is kept out of the search for garbage that Spark starts after every
    task: it takes longer (0.2 s, 2026-11-21) than many a task."""

    def run(batches: Batches) -> Iterator[pa.RecordBatch]:
        _settle()
        yield from work(batches)

    return run


@cache
def _settle() -> None:
    gc.collect()
    gc.freeze()


def shard_reader(job: Job) -> Task:
    """From shard numbers: the rows of each by entity; by record where deliveries are judged first."""

    @task
    def read(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                table = read_shard(job, job.log.shards[number])
                yield from _by_mark(table, offset_marks(table), job) if job.judged_first else _by_entity(table, job)

    return read


def read_shard(job: Job, shard: Shard) -> pa.Table:
    """The rows of a shard in the job's types, with their places."""
    log = job.log
    fragment = parquet_fragment(shard.path, filesystem_of(log.source.path)[0])
    part = LogFiles(log.source, (fragment.subset(row_group_ids=list(shard.row_groups)),), (shard.partition,))
    table = rows_of(part, log.reading, log.streamed)
    table = pa.table([table[field.name].cast(field.type) for field in log.empty.schema], schema=log.empty.schema)
    return table.append_column(PLACE, pa.array(shard.first_place + np.arange(table.num_rows)))


def once(job: Job) -> Task:
    """From all copies of records: each timely one once, by delivery."""

    @task
    def told_apart(batches: Batches) -> Iterator[pa.RecordBatch]:
        table = Received(batches).table(EVENTS, PLACE)
        if table is not None:
            table = table.filter(pa.array(recorded(table, job.log.source.allowed_lateness_us)))
            yield from _by_mark(table, id_marks(table), job)

    return told_apart


def judge(job: Job) -> Task:
    """From all deliveries of ids: the accepted ones, by entity."""

    @task
    def judged(batches: Batches) -> Iterator[pa.RecordBatch]:
        table = Received(batches).table(EVENTS, PLACE)
        if table is None:
            return
        if _asks_further(job, table):
            yield word(FURTHER, "")
        else:
            yield from _by_entity(table.filter(pa.array(accepted(table, job.log.source.allowed_lateness_us))), job)

    return judged


def evaluator(job: Job, group: int, rows_a_part: int) -> Task:
    """From a bucket's events and entity rows: the rows' features by part of the result, or what is wrong with them."""

    @task
    def evaluated(batches: Batches) -> Iterator[pa.RecordBatch]:
        received = Received(batches)
        marks, rows = received.table(CLAIMS), received.table(ROWS, ROW)
        yield from (word(FURTHER, text) for text in received.words(FURTHER)[:1])
        if marks is not None and is_mixed(marks):
            yield word(MIXED, "")
        if rows is None:
            return
        events = received.table(EVENTS, PLACE)
        del received, marks
        events = job.log.empty if events is None else events
        if job.judged_within and _asks_further(job, events):
            yield word(FURTHER, "")
            return
        try:
            answers = _features(job, events, rows)
        except (OverflowError, ValueError) as error:
            yield word(ERROR, f"{type(error).__name__}: {error}")
        else:
            yield from job.carrier.parcels(answers, int64_values(answers[ROW]) // rows_a_part, ANSWERS + group)

    return evaluated


def row_parcels(job: Job, rows: pa.Table, at: pa.ChunkedArray, numbers: np.ndarray) -> Iterator[pa.RecordBatch]:
    """The keys, instants and numbers of entity rows, by entity."""
    table = rows.select(list(dict.fromkeys(job.asked.row_keys))).append_column(AT, at).append_column(ROW, pa.array(numbers))
    hashed = row_hashes(job.asked, job.log.empty, rows, len(at))
    yield from job.carrier.parcels(table, job.split.of_rows(hashed, int64_values(at)), ROWS)


def whole_rows(
    carrier: Carrier, rows_a_part: int, rows: pa.Table, _at: pa.ChunkedArray, numbers: np.ndarray
) -> Iterator[pa.RecordBatch]:
    """Entity rows with all their columns and their numbers, by part of the result."""
    yield from carrier.parcels(rows.append_column(ROW, pa.array(numbers)), numbers // rows_a_part, ROWS)


def row_hashes(asked: Asked, log: pa.Table, rows: pa.Table, count: int) -> np.ndarray:
    """(count,) uint64: of each row's entity; its events in the log (of which any table will do) have the same."""
    types = [log.schema.field(name).type for name in asked.join_keys]
    return _hashed([rows[name] for name in asked.row_keys], types, count)


def assembled(rows: pa.Table, received: Received, outputs: Sequence[Sequence[str]]) -> pa.Table:
    """Entity rows with the answers of every group of views as further columns; rows are in the order of their numbers."""
    for group, names in enumerate(outputs):
        answers = received.table(ANSWERS + group, ROW)
        if answers is None or answers.num_rows != rows.num_rows:
            raise RuntimeError("Spark lost answers on their way; ask again.")
        for name in names:
            rows = rows.append_column(name, answers[name])
    return rows


def _features(job: Job, events: pa.Table, rows: pa.Table) -> pa.Table:
    columns = {ROW: rows[ROW]}
    counts = accepted(events, job.log.source.allowed_lateness_us) if job.judged_within else None
    for request in job.asked.requests:
        if isinstance(request, WindowedRequest):
            judged = (events, None if counts is None else lambda: counts)
            columns |= windows_of(request, judged, rows, rows[AT], job.as_known, threads=1)
        else:
            columns |= newest_of(request, events, rows, rows[AT], job.as_known)
    return pa.table(columns)


def _asks_further(job: Job, events: pa.Table) -> bool:
    """Whether a delivery that was not read may decide about some of these."""
    log = job.log
    return log.further_us is not None and log.since_us is not None and reaches_back(events, log.further_us, log.since_us)


def _by_entity(table: pa.Table, job: Job) -> Iterator[pa.RecordBatch]:
    """Events by the buckets that need them; one with a null key may be in any. Their marks, where buckets judge."""
    hashed = _hashed([table[name] for name in job.asked.join_keys], job.keys.schema.types, table.num_rows)
    taken, places = job.split.of_events(hashed, int64_values(table["event_timestamp"]))
    whole = len(taken) == table.num_rows and not job.split.hot
    yield from job.carrier.parcels(table if whole else table.take(pa.array(taken)), places, EVENTS)
    if job.judged_within:
        marks = marks_of(table, job.split.homes(table.num_rows, taken, places))
        yield from job.carrier.parcels(marks, buckets(marks["mark"].to_numpy(), job.split.count), CLAIMS)


def _by_mark(table: pa.Table, marks: np.ndarray, job: Job) -> Iterator[pa.RecordBatch]:
    """Rows of one mark to one place; those of history, which have none, to any."""
    spread_out = np.where(is_streamed(table), marks, spread(int64_values(table[PLACE])))
    yield from job.carrier.parcels(table, buckets(spread_out, job.split.count), EVENTS)


def _hashed(keys: Sequence[pa.ChunkedArray], other_types: Sequence[pa.DataType], count: int) -> np.ndarray:
    """(count,) uint64, the same of equal keys of events and of rows. Types that do not compare tell no entities apart: their
    bucket has all, and refuses them where both have values."""
    compared = [compared_with(key, other) for key, other in zip(keys, other_types, strict=True)]
    return entity_hashes([key for key in compared if key is not None], count)
