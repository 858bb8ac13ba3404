"""The rows of a log in one shape: times normalised, ids and offsets where they are needed, none beyond the manifests."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plumbline.log_files import LogFiles, raw_name
from plumbline.log_times import LogSchemaError, int64_values, microseconds_utc, time_filter, valid_mask

EVENT_COLUMNS = ("event_timestamp", "created_timestamp", "event_id", "source_partition", "source_offset")
"""What every event table has, under these names, whatever the log calls its time columns."""


@dataclass(frozen=True)
class Reading:
    """What to read of a log.

    join_keys, columns  names as views use them; the log must have the join keys, another column it lacks is null
    with_ids            whether event_id, source_partition and source_offset are read even where all rows are history
    since_us, until_us  rows outside [since_us, until_us) may be left out; None: no bound
    end_offsets         last offset of each partition that counts as written; None: all that is there
    coded_keys          whether join keys may come as dictionaries, as entity_keys takes them
    """

    join_keys: tuple[str, ...]
    columns: tuple[str, ...]
    with_ids: bool = True
    since_us: int | None = None
    until_us: int | None = None
    end_offsets: Mapping[int, int] | None = None
    coded_keys: bool = False

    @property
    def names(self) -> list[str]:
        """Columns of what is read: join keys, columns and EVENT_COLUMNS, each once."""
        return list(dict.fromkeys((*self.join_keys, *self.columns, *EVENT_COLUMNS)))


def is_streamed(log: LogFiles) -> bool:
    """Whether some row of the log may have come through a topic."""
    return log.has_values("source_partition") and log.has_values("source_offset")


def rows_of(log: LogFiles, reading: Reading, streamed: bool) -> pa.Table:
    """All rows of a log up to the end offsets, accepted or not: reading.names, times as timestamp[us, UTC].

    streamed  as is_streamed says of the whole log; without it and with_ids, ids and offsets are null columns

    Raises LogSchemaError for a time that is no timestamp and for files that disagree about a column.
    """
    source = log.source
    slots = EVENT_COLUMNS[2:] if reading.with_ids or streamed else ()
    payload = [name for name in dict.fromkeys((*reading.join_keys, *reading.columns)) if name not in EVENT_COLUMNS[:2]]
    event_name, created_name = _time_columns(log)
    kept = list(dict.fromkeys((*payload, *slots)))
    pushed_down = time_filter(raw_name(source, event_name), reading.since_us, reading.until_us)
    if reading.coded_keys:
        log = log.with_coded(set(reading.join_keys).difference(reading.columns, EVENT_COLUMNS))
    read = log.read(list(dict.fromkeys((*kept, event_name, created_name))), pushed_down)
    event = microseconds_utc(read[event_name], f"Column '{event_name}' of the log {source.path}")
    created = microseconds_utc(read[created_name], f"Column '{created_name}' of the log {source.path}")
    columns = {name: read[name] for name in kept} | {
        "event_timestamp": event,
        "created_timestamp": pc.coalesce(created, event) if created.null_count else created,
    }
    if slots:
        columns["source_partition"] = _of_records(columns["source_partition"], columns["source_offset"])
    for name in EVENT_COLUMNS:
        columns.setdefault(name, pa.chunked_array([pa.nulls(read.num_rows)]))
    table = pa.table(columns).select(reading.names)
    return table if reading.end_offsets is None or not streamed else _written(table, reading.end_offsets)


def _time_columns(log: LogFiles) -> tuple[str, str]:
    return log.source.timestamp_field, log.source.created_timestamp_column or log.source.timestamp_field


def check_columns(log: LogFiles, reading: Reading) -> None:
    """Raise LogSchemaError for a log without its times or join keys, and for a column that EVENT_COLUMNS would shadow."""
    path, times, found = log.source.path, _time_columns(log), log.names()
    for name in (*reading.join_keys, *times):
        if log.fragments and name not in found:
            raise LogSchemaError(f"The log {path} has no column '{name}'; it has {', '.join(found)}.")
    for ours, theirs in zip(EVENT_COLUMNS[:2], times, strict=True):
        if ours in (*reading.join_keys, *reading.columns) and ours != theirs:
            raise LogSchemaError(
                f"Column '{ours}' of the log {path} cannot be read as a value, because the source's time is '{theirs}'; "
                "give it another name with field_mapping."
            )


def _of_records(partitions: pa.ChunkedArray, offsets: pa.ChunkedArray) -> pa.ChunkedArray:
    """The partitions of rows that are records: without an offset a row is history, whatever partition it names."""
    if not offsets.null_count or pa.types.is_null(partitions.type):
        return partitions
    return pc.if_else(pc.is_valid(offsets), partitions, pa.scalar(None, partitions.type))


def _written(table: pa.Table, end_offsets: Mapping[int, int]) -> pa.Table:
    """The rows that the manifests reach; history always counts."""
    streamed = valid_mask(table["source_partition"])
    partitions = int64_values(table["source_partition"])
    ends = np.full(table.num_rows, -1, dtype=np.int64)
    for partition, end in end_offsets.items():
        ends[partitions == partition] = end
    reached = ~streamed | (int64_values(table["source_offset"]) <= ends)
    return table if reached.all() else table.filter(pa.array(reached))
