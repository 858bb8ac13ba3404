"""How the driver plans Spark jobs: which views are evaluated together, and which parts of their log the tasks read."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from plumbline import local_engine, log_commits
from plumbline.durations import DAY
from plumbline.log_files import LogFiles, open_log
from plumbline.log_rows import Reading, check_columns, is_streamed, rows_of
from plumbline.spark_job import Asked, Opened, Shard, join_keys_of
from plumbline.view_evaluation import RowRequest, ViewRequest, WindowedRequest

SHARD_ROWS = 1_000_000
"""Row groups are read in runs of about this many rows."""


def grouped(requests: Sequence[ViewRequest]) -> list[Asked]:
    """The requests by what they share."""
    together = groupby(sorted(requests, key=_affinity), key=_affinity)
    return [Asked(tuple(group)) for _, group in together]


def opened(asked: Asked, range_us: tuple[int, int] | None, margins: int) -> Opened:
    """The log of a job, for entity rows within range_us.

    A delivery decides about others of its id within the allowed lateness: the rows before the range are read `margins`
    times as far.
    """
    source, reading = asked.source, _reading(asked, range_us)
    with local_engine.naming(asked.requests[0]):
        manifest = log_commits.end_offsets(source.path)  # before the files are listed, so that all it promises is there
        log = open_log(source, reading.since_us, reading.until_us)
    reach_us = source.allowed_lateness_us + DAY
    since_us, further_us = reading.since_us, None
    streamed = is_streamed(log)
    if streamed and asked.windowed and since_us is not None and reading.until_us is not None:
        reading = replace(reading, since_us=since_us - margins * reach_us, until_us=reading.until_us + reach_us)
        log = open_log(source, reading.since_us, reading.until_us)
        further_us = since_us - (margins - 1) * reach_us
    check_columns(log, reading)
    reading = replace(reading, end_offsets=manifest)
    empty = rows_of(log.without_rows(), reading, streamed)
    held = sum(fragment.metadata.num_rows for fragment in log.fragments)
    return Opened(source, reading, tuple(_shards(log)), empty, streamed, further_us, since_us, held)


def _affinity(request: ViewRequest) -> tuple[str, ...]:
    """Requests of one affinity are evaluated together."""
    windowed = isinstance(request, WindowedRequest)
    return str(windowed), repr(request.source), repr(join_keys_of(request)), repr(request.row_keys)


def _reading(asked: Asked, range_us: tuple[int, int] | None) -> Reading:
    if asked.windowed:
        return local_engine.event_reading([r for r in asked.requests if isinstance(r, WindowedRequest)], range_us)
    needed = dict.fromkeys(n for r in asked.requests if isinstance(r, RowRequest) for n in (*r.join_keys, *r.features))
    return Reading(tuple(needed), (), with_ids=False)


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
