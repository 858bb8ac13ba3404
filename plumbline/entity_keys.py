"""Entities as small integers: events and entity rows in one numbering, composite keys without collisions."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plumbline.log_times import microseconds_utc

NOBODY = -1
"""Code of a row with a null among its join keys, and of an event whose entity no row asks about."""

CODED_TEXT = pa.dictionary(pa.int32(), pa.string())
"""Texts of a log as pyarrow reads them from a file's dictionary."""


class EntityKeyError(ValueError):
    """Join keys of the entity rows and of the log that cannot be compared."""


def entity_codes(
    events: Sequence[pa.ChunkedArray], rows: Sequence[pa.ChunkedArray], names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, int]:
    """Number the entities that the rows ask about: codes of n events, codes of m rows, and how many entities there are.

    events, rows  one column a join key, in the same order; without join keys everything is one entity. Of dictionaries
                  among the events, as a log's files have them, each value is looked up once.
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
        event_part = _places(event_key, dictionary)
        if number == 0:
            event_codes, row_codes, entities = event_part, row_part, len(dictionary)
        else:
            event_codes, row_codes, entities = _combined(event_codes, row_codes, event_part, row_part, len(dictionary))
    return event_codes, row_codes, entities


def _encoded(column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.dictionary, _codes(encoded.indices)


def _places(column: pa.ChunkedArray, values: pa.Array) -> np.ndarray:
    """(n,) where among the values each of a column stands, NOBODY for a null and for one that is not there."""
    if not pa.types.is_dictionary(column.type):
        return _codes(pc.index_in(column, value_set=values, skip_nulls=True))
    found = np.empty(len(column), np.int32)
    first, looked_up = 0, None
    for chunk in column.chunks:  # those of one row group share a dictionary
        if looked_up is None or not chunk.dictionary.equals(looked_up):
            looked_up = chunk.dictionary
            places = np.append(_codes(pc.index_in(looked_up, value_set=values)), np.int32(NOBODY))
        part = found[first : first + len(chunk)]
        places.take(_codes(chunk.indices), out=part, mode="wrap")  # a null's code, -1, is the last place
        first += len(chunk)
    return found


def _combined(
    event_codes: np.ndarray, row_codes: np.ndarray, event_part: np.ndarray, row_part: np.ndarray, distinct: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Pairs of codes, numbered densely again: codes are less than 2^31, so that a pair of two fits an int64."""
    row_pairs = _pairs(row_codes, row_part, distinct)
    event_pairs = _pairs(event_codes, event_part, distinct)
    dictionary, row_codes = _encoded(pa.chunked_array([pa.array(row_pairs, mask=row_pairs < 0)]))
    return _codes(pc.index_in(pa.array(event_pairs), value_set=dictionary)), row_codes, len(dictionary)


def _pairs(first: np.ndarray, second: np.ndarray, distinct: int) -> np.ndarray:
    """(n,) int64, whatever the codes' type: first * distinct + second, NOBODY where one of them is."""
    return np.where((first < 0) | (second < 0), NOBODY, first.astype(np.int64) * distinct + second)


def _codes(indices: pa.Array | pa.ChunkedArray) -> np.ndarray:
    array = indices.combine_chunks() if isinstance(indices, pa.ChunkedArray) else indices
    return np.asarray(array.fill_null(NOBODY).to_numpy(zero_copy_only=False))


def comparable(events: pa.ChunkedArray, rows: pa.ChunkedArray, name: str) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """A join key of events and of entity rows in one type, so that equal keys are equal values; events' texts stay coded.

    A value that the other side cannot have, like 7.5 among integers, is null. Raises EntityKeyError for unlike types.
    """
    if _is_empty(rows):
        events = _plain(events)
        return events, pa.chunked_array([pa.nulls(len(rows), events.type)])
    if _is_empty(events):
        rows = _plain(rows)
        return pa.chunked_array([pa.nulls(len(events), rows.type)]), rows
    if events.type == CODED_TEXT and _plain_type(rows.type) == pa.string():
        return events, _plain(rows)
    compared = compared_with(events, rows.type), compared_with(rows, events.type)
    if compared[0] is None or compared[1] is None:
        raise EntityKeyError(
            f"Join key '{name}' is {_plain_type(rows.type)} in the entity rows but {_plain_type(events.type)} in the log; "
            "give both the same type."
        )
    return compared


def compared_with(column: pa.ChunkedArray, other: pa.DataType) -> pa.ChunkedArray | None:
    """A join key in the type in which it is compared with one of type `other`; None where the two do not compare."""
    column, other = _plain(column), _plain_type(other)
    mine = column.type
    if mine == other:
        return column
    if pa.types.is_integer(mine) and pa.types.is_integer(other):
        return column.cast(pa.decimal128(20) if pa.uint64() in (mine, other) else pa.int64())
    if pa.types.is_integer(mine) and pa.types.is_floating(other):
        return _small(column)
    if pa.types.is_floating(mine) and pa.types.is_integer(other):
        return _whole(column)
    if pa.types.is_timestamp(mine) and pa.types.is_timestamp(other):
        return microseconds_utc(column, "A join key")
    if pa.types.is_floating(mine) and pa.types.is_floating(other):
        return column.cast(pa.float64())
    return None


def _is_empty(column: pa.ChunkedArray) -> bool:
    """Whether there is no value in it, whatever its type: pandas makes floats of a column of nothing but nulls."""
    return column.null_count == len(column)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Without dictionaries, large text as text, NaN as null, and one zero."""
    if (plain := _plain_type(column.type)) != column.type:
        column = column.cast(plain)
    if pa.types.is_floating(plain):
        return pc.if_else(pc.is_nan(column), pa.scalar(None, plain), pc.add(column, 0.0).cast(plain))
    return column


def _plain_type(data_type: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(data_type):
        data_type = data_type.value_type
    if pa.types.is_large_string(data_type) or pa.types.is_string_view(data_type):
        return pa.string()
    return pa.binary() if pa.types.is_large_binary(data_type) else data_type


def _small(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Integers as int64; one that leaves it is null, for no whole float is taken for it."""
    if column.type != pa.uint64():
        return column.cast(pa.int64())
    return pc.if_else(pc.less(column, pa.scalar(2**63, pa.uint64())), column, pa.scalar(None, pa.uint64())).cast(pa.int64())


def _whole(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Floats as int64 where they are whole (pandas makes floats of integers with a missing value), else null."""
    whole = pc.and_(pc.equal(column, pc.floor(column)), pc.less(pc.abs(column), 2.0**63))
    return pc.if_else(whole, column, pa.scalar(None, column.type)).cast(pa.int64())
