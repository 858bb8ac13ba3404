"""Events on their way in (pushed or consumed) brought into the shape that logs are read in."""

from collections.abc import Sequence
from datetime import datetime

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from plumbline.view_spec import LogSource, ViewSpec

TIMESTAMP = pa.timestamp("us", tz="UTC")


def from_pandas(events: pd.DataFrame) -> pa.Table:
    """A DataFrame's columns as Arrow makes them; raises ValueError naming one that is there twice or is of no one type."""
    if not events.columns.is_unique:
        raise ValueError(f"Column '{events.columns[events.columns.duplicated()][0]}' is there twice.")
    columns = {}
    for name, values in events.items():
        try:
            columns[str(name)] = pa.array(values, from_pandas=True)
        except (pa.ArrowException, OverflowError, UnicodeError) as error:
            raise ValueError(f"Column '{name}' is no column of numbers, texts or times: {error}") from None
    return pa.table(columns)


def normalised(events: pa.Table, source: LogSource, specs: Sequence[ViewSpec], known_at: datetime) -> pa.Table:
    """Events with event_timestamp and created_timestamp (us, UTC), event_id, source_partition, source_offset, and the
    join keys and columns of the views.

    event_timestamp is the source's timestamp_field. A missing or null created timestamp is `known_at`, for a source that
    declares no created column it is the event's time. Naive timestamps are UTC; nanoseconds are cut.

    Raises ValueError naming the column when one is missing or an event has no time.
    """
    renamed = dict(source.field_mapping)
    events = events.rename_columns([renamed.get(name, name) for name in events.column_names])
    wanted = dict.fromkeys(name for spec in specs for name in (*spec.join_keys, *spec.columns))
    missing = [name for name in (source.timestamp_field, *wanted) if name not in events.column_names]
    if missing:
        raise ValueError(f"Events for '{source.name}' lack {', '.join(missing)}; they have {', '.join(events.column_names)}.")
    at = timestamps(events[source.timestamp_field], source.timestamp_field)
    if at.null_count:
        raise ValueError(f"{at.null_count} events for '{source.name}' have no {source.timestamp_field}; every event needs one.")
    columns: dict[str, pa.ChunkedArray] = {name: events[name] for name in wanted}
    columns |= {
        "event_timestamp": at,
        "created_timestamp": _created(events, source, at, known_at),
        "event_id": _or_null(events, "event_id", pa.string()),
        "source_partition": _or_null(events, "source_partition", pa.int64()),
        "source_offset": _or_null(events, "source_offset", pa.int64()),
    }
    return pa.table(columns)


def typed(events: pa.Table) -> pa.Table:
    """A log's events with event_id, source_partition and source_offset of their types, where the log lacks them too."""
    for name, data_type in (("event_id", pa.string()), ("source_partition", pa.int64()), ("source_offset", pa.int64())):
        events = events.set_column(events.schema.get_field_index(name), name, events[name].cast(data_type))
    return events


def timestamps(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """A column as microsecond UTC timestamps; raises ValueError when it has rows and is not a timestamp."""
    if not len(column):
        return pa.chunked_array([], TIMESTAMP)
    if not pa.types.is_timestamp(column.type):
        raise ValueError(f"Column '{name}' is {column.type}; it must be a timestamp (with its zone, or naive for UTC).")
    if column.type.tz is None:
        column = column.cast(pa.timestamp(column.type.unit, "UTC"))
    return column.cast(TIMESTAMP, safe=False)


def _created(events: pa.Table, source: LogSource, at: pa.ChunkedArray, known_at: datetime) -> pa.ChunkedArray:
    if source.created_timestamp_column is None:
        return at
    moment = pa.scalar(known_at, TIMESTAMP)
    if source.created_timestamp_column not in events.column_names:
        return pa.chunked_array([pa.repeat(moment, events.num_rows)])
    column = events[source.created_timestamp_column]
    if pa.types.is_null(column.type):
        return pa.chunked_array([pa.repeat(moment, events.num_rows)])
    return pc.fill_null(timestamps(column, source.created_timestamp_column), moment)


def _or_null(events: pa.Table, name: str, data_type: pa.DataType) -> pa.ChunkedArray:
    if name not in events.column_names:
        return pa.chunked_array([pa.nulls(events.num_rows, data_type)])
    column = events[name]
    if pa.types.is_floating(column.type) and pa.types.is_integer(data_type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)  # pandas' null
    try:
        return column.cast(data_type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"Column '{name}' is {column.type}; it must be {data_type}: {error}") from None
