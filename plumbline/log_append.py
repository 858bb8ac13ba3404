"""Appending rows to a log: one new Parquet file in a folder, or the rewrite of a log that is a single file."""

import fcntl
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from plumbline.log_files import DATE_PARTITION, LogFiles, open_log, raw_name
from plumbline.log_times import LogSchemaError, microseconds_utc
from plumbline.view_spec import LogSource

APPENDED = "pushed"
"""File names of appended rows begin with this, so that a loader which replaces the history leaves them alone."""


def append(source: LogSource, rows: pa.Table, declared: Mapping[str, pa.DataType]) -> None:
    """Append rows (under the log's own column names) to a log.

    Columns take the log's types, and where the log has nothing but nulls the declared ones, by the names that views use;
    those that rows lack become null; the order of columns does not matter. A log that does not exist yet is created with
    the rows' columns: a file where the path ends in .parquet, else a folder. A folder whose files lie in `event_date=`
    folders gets one file a day. Every file appears whole or not at all.

    Raises LogSchemaError for a column that the log does not have, for values that do not fit, and for a remote log.
    """
    if "://" in source.path:
        raise LogSchemaError(f"The log {source.path} is remote; rows are appended to local logs only.")
    path = Path(source.path)
    if path.is_file() or (path.suffix == ".parquet" and not path.exists()):
        with _exclusive(path):
            old = pq.read_table(path) if path.exists() else None
            new = _as_logged(rows, _known(None if old is None else old.schema, rows, source, declared), source)
            write_parquet(new if old is None else pa.concat_tables([old, new], promote_options="permissive"), path)
        return
    path.mkdir(parents=True, exist_ok=True)
    existing = open_log(source)
    logged = _as_logged(rows, _known(_schema(existing), rows, source, declared), source)
    name = f"{APPENDED}-{uuid.uuid4().hex}.parquet"
    for folder, part in _by_day(logged, existing):
        write_parquet(part, path / folder / name)


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write a table to a file that appears whole or not at all; timestamps in microseconds, as Spark needs them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex}")
    try:
        pq.write_table(table, hidden, coerce_timestamps="us", allow_truncated_timestamps=True)
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)


def _schema(log: LogFiles) -> pa.Schema | None:
    """The log's columns as its files hold them; of two types the one that is not null."""
    fields: dict[str, pa.Field] = {}
    for fragment in log.fragments:
        for field in fragment.physical_schema:
            if field.name not in fields or pa.types.is_null(fields[field.name].type):
                fields[field.name] = field
    return pa.schema(fields.values()) if fields else None


def _known(schema: pa.Schema | None, rows: pa.Table, source: LogSource, declared: Mapping[str, pa.DataType]) -> pa.Schema:
    """The log's columns, of a new log the rows'; one that is not known by its values has its declared type, else the rows'."""
    types = {raw_name(source, name): data_type for name, data_type in declared.items()}
    own = dict(zip(rows.column_names, rows.schema.types, strict=True))
    return pa.schema(
        field.with_type(types.get(field.name, own.get(field.name, field.type)))
        if schema is None or pa.types.is_null(field.type)
        else field
        for field in (rows.schema if schema is None else schema)
    )


def _as_logged(rows: pa.Table, schema: pa.Schema, source: LogSource) -> pa.Table:
    unknown = [name for name in rows.column_names if name not in schema.names and name != DATE_PARTITION]
    if unknown:
        raise LogSchemaError(f"The log {source.path} has no column {', '.join(unknown)}; it has {', '.join(schema.names)}.")
    return pa.table([_column(rows, field, source) for field in schema], schema=schema.remove_metadata())


def _column(rows: pa.Table, field: pa.Field, source: LogSource) -> pa.ChunkedArray | pa.Array:
    if field.name not in rows.column_names:
        return pa.nulls(rows.num_rows, field.type)
    column = rows[field.name]
    try:
        if pa.types.is_timestamp(field.type) and not pa.types.is_null(column.type):
            column = microseconds_utc(column, f"Column '{field.name}'")
            return column.cast(pa.timestamp("us", field.type.tz)).cast(field.type, safe=False)
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise LogSchemaError(f"Column '{field.name}' does not fit {field.type} of the log {source.path}: {error}") from None


def _by_day(rows: pa.Table, log: LogFiles) -> Iterator[tuple[str, pa.Table]]:
    """Folder and rows: the root, or a Hive folder a day where the log has such folders."""
    if not any(DATE_PARTITION in partition for partition in log.partitions):
        yield "", rows
        return
    column = "event_timestamp" if "event_timestamp" in rows.column_names else log.source.timestamp_field
    days = pc.cast(microseconds_utc(rows[column], f"Column '{column}'"), pa.date32())
    for day in pc.unique(days).to_pylist():
        mask = pc.is_null(days) if day is None else pc.fill_null(pc.equal(days, day), False)
        folder = "__HIVE_DEFAULT_PARTITION__" if day is None else day.isoformat()
        yield f"{DATE_PARTITION}={folder}", rows.filter(mask)


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """One rewriter of a file at a time, across processes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
