"""Reading a file source as it is: every row of a range of time, or the latest of each entity."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.offline_stores.file_source import FileSource

from plumbline.entity_keys import entity_codes
from plumbline.log_files import open_log, retried
from plumbline.log_times import LogSchemaError, int64_values, microseconds_utc
from plumbline.view_spec import LogSource


def pull_all(
    path: str,
    join_keys: Sequence[str],
    features: Sequence[str],
    timestamp_field: str,
    created_column: str | None,
    since: datetime | None,
    until: datetime | None,
) -> pa.Table:
    """All rows with since <= time <= until (None: no bound), the named columns only, in the order of files.

    Times are as the file has them. Raises LogNotFoundError, LogSchemaError for a column that is not there.
    """
    source = LogSource(path, path, timestamp_field, created_column, 0)
    names = list(dict.fromkeys((*join_keys, *features, timestamp_field, *([created_column] if created_column else []))))
    table = retried(lambda: _read(source, names))
    at = microseconds_utc(table[timestamp_field], f"Column '{timestamp_field}' of {path}")
    kept = pc.is_valid(at)
    if since is not None:
        kept = pc.and_(kept, pc.greater_equal(at, pa.scalar(_utc(since), at.type)))
    if until is not None:
        kept = pc.and_(kept, pc.less_equal(at, pa.scalar(_utc(until), at.type)))
    table = table.filter(kept)
    if not join_keys:
        table = table.append_column(DUMMY_ENTITY_ID, pa.repeat(DUMMY_ENTITY_VAL, table.num_rows))
    return table


def latest_of_each(table: pa.Table, join_keys: Sequence[str], timestamp_field: str, created_column: str | None) -> pa.Table:
    """The newest row of each entity: of equal times the newest created, of those the last. A null key is no entity."""
    keys = [table[name] for name in join_keys or (DUMMY_ENTITY_ID,)]
    codes, _, entities = entity_codes(keys, keys, join_keys or (DUMMY_ENTITY_ID,))
    at = int64_values(microseconds_utc(table[timestamp_field], timestamp_field))
    created = at if created_column is None else int64_values(microseconds_utc(table[created_column], created_column))
    order = np.lexsort((np.arange(len(at)), created, at))
    newest = np.full(entities, -1)
    newest[codes[order][codes[order] >= 0]] = order[codes[order] >= 0]
    return table.take(pa.array(np.sort(newest[newest >= 0])))


def source_path(source: FileSource, repo_path: object) -> str:
    """Where a file source's rows are; a relative path is the repo's."""
    return FileSource.get_uri_for_file_path(repo_path, source.path)


def _read(source: LogSource, names: list[str]) -> pa.Table:
    log = open_log(source)
    found = log.names()
    missing = [name for name in names if log.fragments and name not in found]
    if missing:
        raise LogSchemaError(f"{source.path} has no column {', '.join(missing)}; it has {', '.join(found)}.")
    return log.read(names)


def _utc(at: datetime) -> datetime:
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
