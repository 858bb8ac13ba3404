"""Entities as small integers: events and entity rows in one numbering, composite keys without collisions."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plumbline.log_times import microseconds_utc

NOBODY = -1
"""Code of a row with a null among its join keys, and of an event whose entity no row asks about."""


class EntityKeyError(ValueError):
    """Join keys of the entity rows and of the log that cannot be compared."""


def entity_codes(
    events: Sequence[pa.ChunkedArray], rows: Sequence[pa.ChunkedArray], names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, int]:
    """Number the entities that the rows ask about: codes of n events, codes of m rows, and how many entities there are.

    events, rows  one column a join key, in the same order; without join keys everything is one entity
    names         the join keys, for the error

    NOBODY stands for a null (NaN is null) in any key and for an entity that no row asks about. Raises EntityKeyError
    for types that do not compare, such as text with a number.
    """
    event_codes = np.zeros(len(events[0]) if events else 0, dtype=np.int64)
    row_codes = np.zeros(len(rows[0]) if rows else 0, dtype=np.int64)
    entities = 1
    for number, (event_column, row_column, name) in enumerate(zip(events, rows, names, strict=True)):
        event_key, row_key = comparable(event_column, row_column, name)
        dictionary, row_part = _encoded(row_key)
        event_part = _codes(pc.index_in(event_key, value_set=dictionary, skip_nulls=True))
        if number == 0:
            event_codes, row_codes, entities = event_part, row_part, len(dictionary)
        else:
            event_codes, row_codes, entities = _combined(event_codes, row_codes, event_part, row_part, len(dictionary))
    return event_codes, row_codes, entities


def _encoded(column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.dictionary, _codes(encoded.indices)


def _combined(
    event_codes: np.ndarray, row_codes: np.ndarray, event_part: np.ndarray, row_part: np.ndarray, distinct: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Pairs of codes, numbered densely again so that a product of two never leaves int64."""
    row_pairs = np.where((row_codes < 0) | (row_part < 0), NOBODY, row_codes * distinct + row_part)
    event_pairs = np.where((event_codes < 0) | (event_part < 0), NOBODY, event_codes * distinct + event_part)
    dictionary, row_codes = _encoded(pa.chunked_array([pa.array(row_pairs, mask=row_pairs < 0)]))
    return _codes(pc.index_in(pa.array(event_pairs), value_set=dictionary)), row_codes, len(dictionary)


def _codes(indices: pa.Array | pa.ChunkedArray) -> np.ndarray:
    array = indices.combine_chunks() if isinstance(indices, pa.ChunkedArray) else indices
    return np.asarray(array.fill_null(NOBODY).to_numpy(zero_copy_only=False))


def comparable(events: pa.ChunkedArray, rows: pa.ChunkedArray, name: str) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """A join key of events and of entity rows in one type, so that equal keys are equal values.

    A value that the other side cannot have, like 7.5 among integers, is null. Raises EntityKeyError for unlike types.
    """
    events, rows = _plain(events), _plain(rows)
    if _is_empty(rows):
        return events, pa.chunked_array([pa.nulls(len(rows), events.type)])
    if _is_empty(events):
        return pa.chunked_array([pa.nulls(len(events), rows.type)]), rows
    if events.type == rows.type:
        return events, rows
    if pa.types.is_integer(events.type) and pa.types.is_integer(rows.type):
        unsigned = pa.uint64() in (events.type, rows.type)
        wide = pa.decimal128(20) if unsigned else pa.int64()
        return events.cast(wide), rows.cast(wide)
    if pa.types.is_integer(events.type) and pa.types.is_floating(rows.type):
        return events.cast(pa.int64()), _whole(rows)
    if pa.types.is_floating(events.type) and pa.types.is_integer(rows.type):
        return _whole(events), rows.cast(pa.int64())
    if pa.types.is_timestamp(events.type) and pa.types.is_timestamp(rows.type):
        return microseconds_utc(events, name), microseconds_utc(rows, name)
    if pa.types.is_floating(events.type) and pa.types.is_floating(rows.type):
        return events.cast(pa.float64()), rows.cast(pa.float64())
    raise EntityKeyError(
        f"Join key '{name}' is {rows.type} in the entity rows but {events.type} in the log; give both the same type."
    )


def _is_empty(column: pa.ChunkedArray) -> bool:
    """Whether there is no value in it, whatever its type: pandas makes floats of a column of nothing but nulls."""
    return column.null_count == len(column)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Without dictionaries, large text as text, NaN as null, and one zero."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        return column.cast(pa.string())
    if pa.types.is_large_binary(column.type):
        return column.cast(pa.binary())
    if pa.types.is_floating(column.type):
        return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), pc.add(column, 0.0).cast(column.type))
    return column


def _whole(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Floats as int64 where they are whole (pandas makes floats of integers with a missing value), else null."""
    whole = pc.and_(pc.equal(column, pc.floor(column)), pc.less(pc.abs(column), 2.0**63))
    return pc.if_else(whole, column, pa.scalar(None, column.type)).cast(pa.int64())
