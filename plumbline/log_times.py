"""Timestamps of a log in whatever unit and zone its files have them, as microseconds in UTC."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

TIMESTAMP = pa.timestamp("us", tz="UTC")
_UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


class LogSchemaError(ValueError):
    """A log lacks a column that it must have, has it in a type that makes no sense, or two of its files disagree."""


def microseconds_utc(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """Timestamps of any unit as timestamp[us, UTC]: naive ones are UTC, nanoseconds are cut, dates begin the day.

    Raises LogSchemaError, naming `where`, for a column that is no time; one without rows may be of any type.
    """
    if column.type == TIMESTAMP:
        return column
    if not len(column):
        return pa.chunked_array([], TIMESTAMP)
    if pa.types.is_null(column.type) or pa.types.is_date(column.type):
        return column.cast(pa.timestamp("us")).cast(TIMESTAMP)
    if not pa.types.is_timestamp(column.type):
        raise LogSchemaError(f"{where} is {column.type}; it must be a timestamp (UTC).")
    if column.type.unit == "ns":
        return pa.chunked_array([_cut_nanoseconds(chunk) for chunk in column.chunks], TIMESTAMP)
    return column.cast(pa.timestamp(column.type.unit, tz="UTC")).cast(TIMESTAMP)


def time_filter(raw: str, since_us: int | None, until_us: int | None) -> Callable[[pa.Schema], pc.Expression | None]:
    """A filter on the column `raw` that keeps every row inside [since_us, until_us), and few others.

    Called with a file's schema, whose unit may be coarse; None where there is nothing to filter by.
    """

    def keep(schema: pa.Schema) -> pc.Expression | None:
        data_type = schema.field(raw).type if raw in schema.names else None
        if data_type is None or not pa.types.is_timestamp(data_type):
            return None
        bounds = []
        if (low := _in_unit(since_us, data_type)) is not None:
            bounds.append(pc.field(raw) >= low)
        if (high := _in_unit(until_us, data_type)) is not None:
            bounds.append(pc.field(raw) <= high)
        return bounds[0] & bounds[1] if len(bounds) == 2 else next(iter(bounds), None)

    return keep


def int64_values(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """Integers, or timestamps as their microseconds, as an (n,) int64 array; a null becomes 0."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    numbers = array.cast(pa.int64())
    return np.asarray((numbers.fill_null(0) if numbers.null_count else numbers).to_numpy(zero_copy_only=False))


def valid_mask(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """(n,) bool array: False where the column is null."""
    if column.null_count == 0:
        return np.ones(len(column), dtype=bool)
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.asarray(array.is_valid().to_numpy(zero_copy_only=False))


def _in_unit(at_us: int | None, data_type: pa.TimestampType) -> pa.Scalar | None:
    if at_us is None:
        return None
    value = at_us * _UNITS_PER_SECOND[data_type.unit] // 1_000_000
    return pa.scalar(value, data_type) if -(2**63) <= value < 2**63 else None


def _cut_nanoseconds(chunk: pa.Array) -> pa.Array:
    cut = int64_values(chunk) // 1_000
    return pa.array(cut, mask=~valid_mask(chunk)).cast(TIMESTAMP)
