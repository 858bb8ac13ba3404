"""The Parquet files of a log as one table, whatever their schemas; only what matters of them is read."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from pyarrow import fs

from plumbline.log_times import LogSchemaError, microseconds_utc

if TYPE_CHECKING:
    from plumbline.view_spec import LogSource

DATE_PARTITION = "event_date"
"""Hive folder `event_date=YYYY-MM-DD` of a log whose time is its column event_timestamp."""
READ_AGAIN = 10
LENGTH_BYTES = 4
"""What Parquet's plain encoding writes before each text: where texts take less, nearly all are numbers in a dictionary."""
DICTIONARY_ENCODINGS = {"RLE_DICTIONARY", "PLAIN_DICTIONARY"}
DECODED_TO_DICTIONARIES = DICTIONARY_ENCODINGS | {"PLAIN", "RLE", "BIT_PACKED"}
"""Encodings of a text column that pyarrow reads as a dictionary; it cannot with the others (DELTA_BYTE_ARRAY, ...)."""
REOPENING_ROWS = 10_000
"""To open a file again takes as long (0.1 ms) as reading this many numbers instead of texts saves."""
HASHING_ROWS = 3
"""To make a dictionary of one text that is none in the file takes as long (75 ns) as reading this many numbers saves."""
_PARQUET = pads.ParquetFileFormat()
_ZONE_SLACK = timedelta(days=1)
_T = TypeVar("_T")


class LogNotFoundError(FileNotFoundError):
    """A log's file or folder does not exist; the message says which and what to do."""


@dataclass(frozen=True)
class LogFiles:
    """The files of one log at one moment, in the order of their paths, with the values in their Hive folder names.

    coded  columns that are read as dictionaries
    """

    source: "LogSource"
    fragments: tuple[pads.ParquetFileFragment, ...]
    partitions: tuple[dict[str, str], ...]
    coded: frozenset[str] = frozenset()

    def names(self) -> list[str]:
        """Every column that some file has, under the names that views use."""
        renamed = dict(self.source.field_mapping)
        found: dict[str, None] = {}
        for fragment, partition in zip(self.fragments, self.partitions, strict=True):
            found |= dict.fromkeys(renamed.get(name, name) for name in (*fragment.physical_schema.names, *partition))
        return list(found)

    def has_values(self, name: str) -> bool:
        """Whether a column may hold anything but nulls, as far as the files' statistics tell."""
        raw = raw_name(self.source, name)
        return any(raw in f.physical_schema.names and _may_hold_values(f, raw) for f in self.fragments)

    def with_coded(self, names: Collection[str]) -> "LogFiles":
        """The same files, of which these columns are read as dictionaries where that saves time.

        Nearly all of a column must be numbers in the files' own dictionaries already. So each different text is compared once.
        """
        coded = {name: raw for name in names if self._is_worth_coding(raw := raw_name(self.source, name))}
        if not coded:
            return self
        form = pads.ParquetFileFormat(read_options=pads.ParquetReadOptions(dictionary_columns=set(coded.values())))
        fragments = tuple(
            form.make_fragment(fragment.path, fragment.filesystem, row_groups=[group.id for group in fragment.row_groups])
            for fragment in self.fragments
        )
        return replace(self, fragments=fragments, coded=frozenset(coded))

    def without_rows(self) -> "LogFiles":
        """The same files as if none of them had a row: what is read of them has the columns' types."""
        return replace(self, fragments=tuple(fragment.subset(row_group_ids=[]) for fragment in self.fragments))

    def read(self, names: Sequence[str], keep: Callable[[pa.Schema], pc.Expression | None] | None = None) -> pa.Table:
        """The named columns of all files, rows in the order of paths and then of rows.

        A column that a file lacks is null there; one that no file has is of type null. `keep` turns a file's schema
        into a filter that is pushed down to row groups. Raises LogSchemaError when two files disagree about a column.
        """
        raw = [raw_name(self.source, name) for name in names]
        tables = [self._read_group(group, names, raw, keep) for group in self._groups(raw)]
        return _concatenated(self.source, tables, names)

    def _is_worth_coding(self, raw: str) -> bool:
        schemas = [fragment.physical_schema for fragment in self.fragments]
        if any(raw not in schema.names or schema.field(raw).type != pa.string() for schema in schemas):
            return False  # one type everywhere, since a dictionary cannot be put together with another type
        chunks = [chunk for fragment in self.fragments for chunk in _chunks(fragment, raw) or ()]
        if not all(DECODED_TO_DICTIONARIES.issuperset(chunk.encodings) for chunk in chunks):
            return False
        rows = sum(chunk.num_values for chunk in chunks)
        numbers = sum(chunk.num_values for chunk in chunks if _is_numbers(chunk))
        return numbers > HASHING_ROWS * (rows - numbers) + REOPENING_ROWS * len(self.fragments)

    def _groups(self, raw: Sequence[str]) -> Iterator[list[int]]:
        """Runs of neighbouring files that agree about the columns, so that one scan reads them."""
        previous: object = None
        group: list[int] = []
        for index, (fragment, partition) in enumerate(zip(self.fragments, self.partitions, strict=True)):
            schema = fragment.physical_schema
            shape = [schema.field(name).type if name in schema.names else partition.get(name) for name in raw]
            if group and shape != previous:
                yield group
                group = []
            previous = shape
            group.append(index)
        if group:
            yield group

    def _read_group(self, group: list[int], names: Sequence[str], raw: Sequence[str], keep: Callable | None) -> pa.Table:
        first, partition = self.fragments[group[0]], self.partitions[group[0]]
        schema = first.physical_schema
        fragments = [self.fragments[index] for index in group]
        present = [name for name in dict.fromkeys(raw) if name in schema.names]
        dataset = pads.FileSystemDataset(fragments, _without_views(schema), first.format, filesystem=first.filesystem)
        pool = pa.system_memory_pool()  # keeps what is freed: fresh memory costs as much as decoding into it
        table = dataset.to_table(columns=present, filter=keep(schema) if keep else None, memory_pool=pool)
        columns = [table[name] if name in present else _constant(partition.get(name), table.num_rows) for name in raw]
        return pa.table(
            [column if name in self.coded else _plain(column) for name, column in zip(names, columns, strict=True)],
            names=list(names),
        )


def open_log(source: "LogSource", since_us: int | None = None, until_us: int | None = None) -> LogFiles:
    """Find a log's files, leaving out the `event_date=` folders that lie wholly outside [since_us, until_us).

    Names that begin with `_` or `.` are ignored. Raises LogNotFoundError when neither file nor folder exists.
    """
    filesystem, root = filesystem_of(source.path)
    info = filesystem.get_file_info(root)
    if info.type == fs.FileType.NotFound:
        raise LogNotFoundError(
            f"The log of source '{source.name}' does not exist: {source.path}. Write events there first, "
            "or correct the path of its FileSource."
        )
    paths = [root] if info.type == fs.FileType.File else _parquet_files(filesystem, root)
    days = _days(source, since_us, until_us)
    kept = [(path, hive) for path in paths for hive in [_hive(path, root)] if _overlaps(hive, days)]
    fragments = tuple(parquet_fragment(path, filesystem) for path, _ in kept)
    return LogFiles(source, fragments, tuple(hive for _, hive in kept))


def parquet_fragment(path: str, filesystem: fs.FileSystem) -> pads.ParquetFileFragment:
    """One Parquet file, not yet opened."""
    return _PARQUET.make_fragment(path, filesystem)


def retried(read: Callable[[], _T]) -> _T:
    """Call `read` again when a file vanished under it (a compaction replaced a day's small files by a large one)."""
    for _ in range(READ_AGAIN):
        try:
            return read()
        except LogNotFoundError:
            raise
        except FileNotFoundError:
            continue
    return read()


def filesystem_of(path: str) -> tuple[fs.FileSystem, str]:
    """Filesystem and path inside it, of an absolute path or a URI."""
    if "://" in path:
        return fs.FileSystem.from_uri(path)
    return fs.LocalFileSystem(), path.rstrip("/")


def raw_name(source: "LogSource", name: str) -> str:
    """The log's own name of a column that views call `name`."""
    return next((raw for raw, renamed in source.field_mapping if renamed == name), name)


def _may_hold_values(fragment: pads.ParquetFileFragment, raw: str) -> bool:
    chunks = _chunks(fragment, raw)
    return chunks is None or any(_holds_values(chunk.statistics, chunk.num_values) for chunk in chunks)


def _chunks(fragment: pads.ParquetFileFragment, raw: str) -> list[pq.ColumnChunkMetaData] | None:
    """What the file says of a column, row group by row group; None for one that it does not keep as one."""
    metadata = fragment.metadata
    column = next((i for i in range(metadata.num_columns) if metadata.schema.column(i).path == raw), None)
    if column is None:
        return None
    return [metadata.row_group(i).column(column) for i in range(metadata.num_row_groups)]


def _is_numbers(chunk: pq.ColumnChunkMetaData) -> bool:
    """Whether nearly all texts of a row group are numbers in its dictionary."""
    is_small = chunk.total_uncompressed_size < LENGTH_BYTES * chunk.num_values
    return is_small and not DICTIONARY_ENCODINGS.isdisjoint(chunk.encodings)


def _holds_values(statistics: Any, rows: int) -> bool:
    return statistics is None or not statistics.has_null_count or statistics.null_count < rows


def _parquet_files(filesystem: fs.FileSystem, root: str) -> list[str]:
    infos = filesystem.get_file_info(fs.FileSelector(root, recursive=True))
    paths = [info.path for info in infos if info.type == fs.FileType.File and info.path.endswith(".parquet")]
    return sorted(path for path in paths if not any(part.startswith(("_", ".")) for part in _below(path, root)))


def _below(path: str, root: str) -> list[str]:
    return path[len(root) :].strip("/").split("/")


def _hive(path: str, root: str) -> dict[str, str]:
    return dict(folder.split("=", 1) for folder in _below(path, root)[:-1] if "=" in folder)


def _days(source: "LogSource", since_us: int | None, until_us: int | None) -> tuple[date, date] | None:
    """The days that folders may be pruned to: a day wider than asked, for folders named in another time zone."""
    if source.timestamp_field != "event_timestamp":
        return None
    since = date.min if since_us is None else _day(since_us, -_ZONE_SLACK)
    return since, date.max if until_us is None else _day(until_us, _ZONE_SLACK)


def _day(at_us: int, slack: timedelta) -> date:
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us) + slack).date()
    except OverflowError:
        return date.min if at_us < 0 else date.max


def _overlaps(hive: dict[str, str], days: tuple[date, date] | None) -> bool:
    try:
        return days is None or days[0] <= date.fromisoformat(hive[DATE_PARTITION]) <= days[1]
    except (KeyError, ValueError):  # no such folder, or Hive's name for a null date
        return True


def _concatenated(source: "LogSource", tables: list[pa.Table], names: Sequence[str]) -> pa.Table:
    if not tables:
        return pa.table([pa.nulls(0) for _ in names], names=list(names))
    if len({tuple(table.schema.types) for table in tables}) > 1:
        tables = [_with_common_timestamps(table, source) for table in tables]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        raise LogSchemaError(f"The files of the log {source.path} disagree about a column: {error}") from None


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _without_views(schema: pa.Schema) -> pa.Schema:
    """Text and bytes laid out as views read as plain ones: Arrow filters no views."""
    plain = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    return pa.schema([field.with_type(plain.get(field.type, field.type)) for field in schema])


def _constant(text: str | None, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, pa.null() if text is None else pa.string()), rows)


def _with_common_timestamps(table: pa.Table, source: "LogSource") -> pa.Table:
    for index, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            column = microseconds_utc(table.column(index), f"Column '{field.name}' of the log {source.path}")
            table = table.set_column(index, field.name, column)
    return table
