"""Parquet rows as plain Python values: text, numbers, decimals, booleans and ParquetTime (cut to microseconds)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.ingest.instants import ParquetTime
from pipelines.ingest.records import Record
from pipelines.ingest.refusals import LoadRefused

BATCH_ROWS = 10_000
US_PER_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}


class ParquetFile:
    """The rows of one Parquet file; `header` is the list of column names, `types` their Arrow types.

    `original` of a Record is the row as JSON. Raises LoadRefused when the file is not Parquet, truncated or corrupt.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.share_read = 0.0
        try:
            with _opened(path) as file:
                schema = file.schema_arrow
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise LoadRefused(f"{path} is not readable as Parquet: {_first_line(error)}") from error
        self.header = list(schema.names)
        self.types = list(schema.types)

    def __iter__(self) -> Iterator[Record]:
        row = 0
        try:
            with _opened(self.path) as file:
                for batch in file.iter_batches(BATCH_ROWS):
                    columns = [values(column) for column in batch.columns]
                    for cells in zip(*columns, strict=True):
                        row += 1
                        yield self._record(row, list(cells))
                    self.share_read = row / file.metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            raise LoadRefused(f"{self.path} is corrupt after row {row}: {_first_line(error)}") from error
        except UnicodeDecodeError as error:
            raise LoadRefused(f"{self.path} holds text that is not UTF-8 after row {row}.") from error

    def position_bytes(self) -> int:
        """How much of the file has been read, for progress."""
        return int(self.path.stat().st_size * self.share_read)

    def _record(self, row: int, cells: list[Any]) -> Record:
        original = json.dumps(dict(zip(self.header, cells, strict=True)), default=_text, ensure_ascii=False)
        if "\\u0000" in original and any(isinstance(cell, str) and "\0" in cell for cell in cells):
            return Record(row, original, None, "holds a NUL character")
        return Record(row, original, cells)


def _opened(path: Path) -> pq.ParquetFile:
    """Old INT96 timestamps are read as microseconds: as nanoseconds, Arrow's default, the year 2600 would read as 2015."""
    return pq.ParquetFile(path, page_checksum_verification=True, coerce_int96_timestamp_unit="us")


def values(column: pa.Array) -> list[Any]:
    """The column as Python values, None where null or empty text; what cannot be mapped only shows in a row's original."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    if pa.types.is_timestamp(column.type):
        is_local = column.type.tz is None
        return [None if us is None else ParquetTime(us, is_local) for us in _microseconds(column)]
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    return [None if cell == "" else cell for cell in column.to_pylist()]


def is_readable(kind: pa.DataType) -> bool:
    """Whether a column of this type can be mapped: text, numbers, booleans, timestamps and dates."""
    if pa.types.is_dictionary(kind):
        return is_readable(kind.value_type)
    tests = (pa.types.is_string_view, pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_floating)
    times = (pa.types.is_decimal, pa.types.is_boolean, pa.types.is_timestamp, pa.types.is_date, pa.types.is_null)
    return any(test(kind) for test in (*tests, *times))


def _microseconds(column: pa.Array) -> list[int | None]:
    """Python integers, because a timestamp in seconds may leave int64 when counted in microseconds."""
    unit = column.type.unit
    counts = column.cast(pa.int64())
    if unit == "ns":
        return [None if ns is None else ns // 1_000 for ns in counts.to_pylist()]
    return [None if count is None else count * US_PER_UNIT[unit] for count in counts.to_pylist()]


def _text(value: Any) -> str:
    if isinstance(value, ParquetTime):
        return f"{value.us} us {'local' if value.is_local else 'UTC'}"
    return repr(value) if isinstance(value, bytes) else str(value)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
