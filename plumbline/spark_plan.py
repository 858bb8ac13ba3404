"""What one Spark job evaluates: views over one log with the same keys, the parts of the log to read, and how they are split."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import pyarrow as pa

from plumbline import local_engine, log_commits
from plumbline.durations import DAY
from plumbline.entity_split import FOR_EVER, EntitySplit
from plumbline.log_files import LogFiles, open_log
from plumbline.log_rows import Reading, check_columns, is_streamed, rows_of
from plumbline.spec import LogSource
from plumbline.view_evaluation import RowRequest, ViewRequest, WindowedRequest

SHARD_ROWS = 1_000_000
"""Row groups are read in runs of about this many rows."""


@dataclass(frozen=True)
class Shard:
    """Some row groups of one file, the values in its Hive folders, and the place of its first row in the log."""

    path: str
    partition: dict[str, str]
    row_groups: tuple[int, ...]
    first_place: int


@dataclass(frozen=True)
class Asked:
    """Views that share a log and join keys, and so are evaluated together."""

    requests: tuple[ViewRequest, ...]

    @property
    def source(self) -> LogSource:
        return self.requests[0].source

    @property
    def windowed(self) -> bool:
        return isinstance(self.requests[0], WindowedRequest)

    @property
    def join_keys(self) -> tuple[str, ...]:
        """The log's names of the join keys."""
        return _join_keys(self.requests[0])

    @property
    def row_keys(self) -> tuple[str, ...]:
        """The entity rows' names of the join keys."""
        return self.requests[0].row_keys

    @property
    def outputs(self) -> list[str]:
        """Columns that the views add."""
        return [name for request in self.requests for name in request.outputs]

    @property
    def reach_us(self) -> int:
        """No entity row sees an event that is older than this."""
        return max(_reach_us(request) for request in self.requests)


@dataclass(frozen=True)
class Opened:
    """A log as one job reads it.

    empty     a table without rows: the log's columns in the types that all shards take
    streamed  whether rows may have come through a topic
    further_us, since_us  an id that was delivered both before further_us and from since_us on may have been claimed by a
              delivery that is not read; None where everything is read
    held      rows in the shards
    """

    source: LogSource
    reading: Reading
    shards: tuple[Shard, ...]
    empty: pa.Table
    streamed: bool
    further_us: int | None
    since_us: int | None
    held: int


@dataclass(frozen=True)
class Job:
    """What the tasks of a job need to know: what is asked, of which log, how it is split, and the keys of the rows in their
    own types (a table without rows, under the log's names)."""

    asked: Asked
    log: Opened
    split: EntitySplit
    keys: pa.Table
    as_known: bool

    @property
    def judged(self) -> bool:
        """Whether the rules for duplicates and lateness apply."""
        return self.log.streamed and self.asked.windowed


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
    return str(windowed), repr(request.source), repr(_join_keys(request)), repr(request.row_keys)


def _join_keys(request: ViewRequest) -> tuple[str, ...]:
    return request.spec.join_keys if isinstance(request, WindowedRequest) else request.join_keys


def _reach_us(request: ViewRequest) -> int:
    if isinstance(request, RowRequest):
        return request.ttl_us or FOR_EVER
    return max(window.window_us + window.slide_us for window in request.spec.windows)


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
