"""Event logs as the engine reads them: the accepted rows, how far they can be trusted, and which history they hold."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plumbline import log_commits
from plumbline.acceptance import accepted
from plumbline.durations import DAY
from plumbline.log_files import LogFiles, LogNotFoundError, open_log, retried
from plumbline.log_rows import Reading, check_columns, is_streamed, rows_of
from plumbline.log_times import LogSchemaError, int64_values, valid_mask
from plumbline.view_spec import LogSource

__all__ = [
    "LogNotFoundError",
    "LogSchemaError",
    "accepted",
    "history_generation",
    "judged_events",
    "log_positions",
    "read_events",
    "read_rows",
]


def read_events(
    source: LogSource,
    columns: Sequence[str],
    *,
    join_keys: Sequence[str] = (),
    keys: Mapping[str, pa.Array] | None = None,
    since_us: int | None = None,
    until_us: int | None = None,
    with_ids: bool = True,
) -> pa.Table:
    """The accepted events of a log: duplicates, too-late and refused streamed rows removed, none beyond the manifests.

    columns    names as views use them; one that the log lacks is a column of nulls
    join_keys  likewise, but each must be in the log once it has rows
    keys       keep only events whose join keys are among these values (each column by itself)
    since_us, until_us  keep only events with since_us <= time < until_us, microseconds since the epoch
    with_ids   False: event_id, source_partition and source_offset are null columns, read only where a rule needs them

    Returns join keys, columns and log_rows.EVENT_COLUMNS, each name once; rows in the order of files. event_timestamp
    is the source's timestamp_field and created_timestamp its created column (where null, or where the source declares
    none, the event's time), both timestamp[us, UTC]. An empty folder gives an empty table.

    Raises LogNotFoundError for a missing log, LogSchemaError for a missing time or join key column.
    """
    table, judgement = judged_events(source, Reading(tuple(join_keys), tuple(columns), with_ids, since_us, until_us))
    counts = judgement() & _inside(table, since_us, until_us)
    for name, values in (keys or {}).items() if table.num_rows else ():
        counts &= np.asarray(pc.is_in(table[name], value_set=values.cast(table[name].type)))
    return table if counts.all() else table.filter(pa.array(counts))


def judged_events(source: LogSource, reading: Reading) -> tuple[pa.Table, Callable[[], np.ndarray]]:
    """What read_events reads before anything is left out: all rows, and a call for (n,) bool which of them are accepted.

    Saves a copy of the log where a mask serves as well. The rows reach further than reading's bounds, as far as they may
    decide about those inside. They are judged on a thread of their own, which the call waits for.
    """
    table = retried(lambda: _deciding(source, reading))
    judge = ThreadPoolExecutor(max_workers=1)
    judgement = judge.submit(accepted, table, source.allowed_lateness_us)
    judge.shutdown(wait=False)
    return table, judgement.result


def read_rows(source: LogSource, columns: Sequence[str], *, join_keys: Sequence[str] = ()) -> pa.Table:
    """All rows of a log or table up to the manifests, without the rules for events: for slowly changing views.

    Returns join keys, columns, event_timestamp and created_timestamp as read_events does.
    """
    reading = Reading(tuple(join_keys), tuple(columns), with_ids=False)
    table = retried(lambda: _rows(source, reading)[0])
    known = valid_mask(table["event_timestamp"])
    names = dict.fromkeys((*join_keys, *columns, "event_timestamp", "created_timestamp"))
    return (table if known.all() else table.filter(pa.array(known))).select(list(names))


def log_positions(source: LogSource) -> dict[int, int]:
    """The last offset of each partition up to which the log can be trusted: the newest manifest's, else the maximum.

    A log of history alone has none. Raises LogNotFoundError for a missing log.
    """
    manifest = log_commits.end_offsets(source.path)
    return retried(lambda: _maximum_offsets(open_log(source))) if manifest is None else manifest


def history_generation(source: LogSource) -> int:
    """How often the history of the log was replaced, from `_commits/history.json`; 0 where there is no such file."""
    return log_commits.generation(source.path)


def _deciding(source: LogSource, reading: Reading) -> pa.Table:
    """Read far enough around the asked range that every row that may decide about one inside is there.

    A delivery decides about another of its id only within the allowed lateness (and a little, for clocks), but may itself
    be a duplicate of an older one: where an id of the range is among the oldest rows read too, read further.
    """
    reach_us = source.allowed_lateness_us + DAY
    margins = 2
    while True:
        low, high = _shifted(reading.since_us, -margins * reach_us), _shifted(reading.until_us, reach_us)
        table, streamed = _rows(source, replace(reading, since_us=low, until_us=high))
        if low is None or not streamed or not reaches_back(table, low + reach_us, low + margins * reach_us):
            return table
        margins *= 4


def _rows(source: LogSource, reading: Reading) -> tuple[pa.Table, bool]:
    manifest = log_commits.end_offsets(source.path)  # before the files are listed, so that all it promises is there
    log = open_log(source, reading.since_us, reading.until_us)
    check_columns(log, reading)
    streamed = is_streamed(log)
    return rows_of(log, replace(reading, end_offsets=manifest), streamed), streamed


def reaches_back(table: pa.Table, before_us: int, since_us: int) -> bool:
    """Whether an id was delivered both before `before_us` and from `since_us` on: a still older delivery could decide."""
    streamed = valid_mask(table["source_partition"])
    event_us = int64_values(table["event_timestamp"])
    old, new = streamed & (event_us < before_us), streamed & (event_us >= since_us)
    if not old.any() or not new.any():
        return False
    early, late = table["event_id"].filter(pa.array(old)).drop_null(), table["event_id"].filter(pa.array(new)).drop_null()
    return bool(pc.any(pc.is_in(late, value_set=early.combine_chunks())).as_py())


def _inside(table: pa.Table, since_us: int | None, until_us: int | None) -> np.ndarray:
    times = int64_values(table["event_timestamp"])
    inside = np.ones(len(times), dtype=bool)
    if since_us is not None:
        inside &= times >= since_us
    return inside if until_us is None else inside & (times < until_us)


def _shifted(at_us: int | None, by_us: int) -> int | None:
    return None if at_us is None else at_us + by_us


def _maximum_offsets(log: LogFiles) -> dict[int, int]:
    if not is_streamed(log):
        return {}
    table = log.read(["source_partition", "source_offset"])
    ends = table.group_by("source_partition").aggregate([("source_offset", "max")])
    pairs = zip(ends["source_partition"].to_pylist(), ends["source_offset_max"].to_pylist(), strict=True)
    return {int(partition): int(end) for partition, end in pairs if partition is not None and end is not None}
