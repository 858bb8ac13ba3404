"""What one Spark job evaluates, as its tasks know it: views over one log with the same keys, the parts of the log to read,
and how they are split."""

from dataclasses import dataclass

import pyarrow as pa

from plumbline.entity_split import FOR_EVER, EntitySplit
from plumbline.log_rows import Reading
from plumbline.parcels import Carrier
from plumbline.view_evaluation import RowRequest, ViewRequest, WindowedRequest
from plumbline.view_spec import LogSource


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
        """The log behind the views."""
        return self.requests[0].source

    @property
    def windowed(self) -> bool:
        """Whether the views are windowed; else they are slowly changing ones."""
        return isinstance(self.requests[0], WindowedRequest)

    @property
    def join_keys(self) -> tuple[str, ...]:
        """The log's names of the join keys."""
        return join_keys_of(self.requests[0])

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
    """What the tasks of a job need to know: what is asked, of which log, how it is split, the keys of the rows in their own
    types (a table without rows, under the log's names), and how parcels are carried.

    judged_first  whether deliveries are judged before they are sorted by entity, because some that decide about each other
                  are of several buckets; else each bucket judges its own
    """

    asked: Asked
    log: Opened
    split: EntitySplit
    keys: pa.Table
    as_known: bool
    carrier: Carrier
    judged_first: bool

    @property
    def judged_within(self) -> bool:
        """Whether the rules for duplicates and lateness apply, and each bucket judges its own deliveries."""
        return self.log.streamed and self.asked.windowed and not self.judged_first


def join_keys_of(request: ViewRequest) -> tuple[str, ...]:
    """The log's names of a request's join keys."""
    return request.spec.join_keys if isinstance(request, WindowedRequest) else request.join_keys


def _reach_us(request: ViewRequest) -> int:
    if isinstance(request, RowRequest):
        return request.ttl_us or FOR_EVER
    return max(window.window_us + window.slide_us for window in request.spec.windows)
