"""How values of columns that are not numbers become bytes, and which bytes belong to which entity."""

import struct
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa


def binary_values(values: pa.Array) -> pa.Array:
    """The bytes of each value as large_binary, null where null. Equal values give equal bytes.

    Text is UTF-8; booleans, dates, times and timestamps are their integer in 8 bytes; everything else its text.
    """
    data_type = values.type
    if pa.types.is_dictionary(data_type):
        values, data_type = values.cast(data_type.value_type), data_type.value_type
    if pa.types.is_null(data_type):
        return pa.nulls(len(values), pa.large_binary())
    if _is_binary(data_type) or _is_text(data_type):
        return values.cast(pa.large_binary())
    if _is_integral(data_type):
        integers = values.cast(_integral(data_type)).cast(pa.int64()).to_pylist()
        return pa.array([None if value is None else struct.pack("<q", value) for value in integers], pa.large_binary())
    return pa.array([None if value is None else str(value).encode() for value in values.to_pylist()], pa.large_binary())


def from_bytes(value: bytes, data_type: pa.DataType) -> object:
    """The Python value that `binary_values` was given."""
    if pa.types.is_dictionary(data_type):
        data_type = data_type.value_type
    if _is_binary(data_type):
        return value
    if _is_text(data_type):
        return value.decode()
    if _is_integral(data_type):
        integer = pa.scalar(struct.unpack("<q", value)[0], pa.int64())
        return integer.cast(_integral(data_type)).cast(data_type).as_py()
    return pa.scalar(value.decode()).cast(data_type).as_py()


def entity_bytes(join_keys: Sequence[str], columns: Sequence[Sequence[object]]) -> list[bytes | None]:
    """One unambiguous key for each entity (row of the key columns, in the order of join_keys); None where a key is null.

    Keys are taken in the order of their names; each is its type, its length and its bytes, so composite keys never collide.

    >>> entity_bytes(["a", "b"], [["1"], ["23"]]) == entity_bytes(["a", "b"], [["12"], ["3"]])
    False
    """
    order = sorted(range(len(join_keys)), key=lambda i: join_keys[i])
    encoded = [[_key_bytes(value) for value in columns[i]] for i in order]
    return [None if None in parts else b"".join(parts) for parts in zip(*encoded, strict=True)]


def distinct_entities(table: pa.Table, join_keys: Sequence[str]) -> tuple[np.ndarray, list[bytes]]:
    """Number the entities of n rows: (n,) number of each row's entity, -1 where a key is null; and the entities' bytes."""
    return Entities(table).distinct(join_keys)


class Entities:
    """The entities of a table's rows by several sets of join keys; what they share is encoded once."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._encoded: dict[str, tuple[np.ndarray, list[bytes]]] = {}

    def distinct(self, join_keys: Sequence[str]) -> tuple[np.ndarray, list[bytes]]:
        """distinct_entities of this table."""
        parts = [self._of_column(name) for name in sorted(join_keys)]
        pairs = parts[0][0]
        for codes, values in parts[1:]:
            pairs = np.where((pairs < 0) | (codes < 0), -1, pairs * len(values) + codes)
            pairs = _dense(pa.array(pairs, mask=pairs < 0))[0]
        if len(parts) == 1:
            return parts[0]
        known = np.flatnonzero(pairs >= 0)[::-1]
        first_row = np.zeros(int(pairs.max(initial=-1)) + 1, dtype=np.int64)
        first_row[pairs[known]] = known
        columns = [[values[code] for code in codes[first_row].tolist()] for codes, values in parts]
        return pairs, [b"".join(of_entity) for of_entity in zip(*columns, strict=True)]

    def _of_column(self, name: str) -> tuple[np.ndarray, list[bytes]]:
        if name not in self._encoded:
            self._encoded[name] = _distinct_keys(self._table[name].combine_chunks())
        return self._encoded[name]


def _distinct_keys(column: pa.Array) -> tuple[np.ndarray, list[bytes]]:
    codes, dictionary = _dense(column)
    if _is_text(column.type):  # encoded just now, so every text stands there once
        return codes, [_text_key(value) for value in dictionary.cast(pa.large_binary()).to_pylist()]
    encoded = [_key_bytes(value) for value in _plain_keys(dictionary)]
    numbers: dict[bytes, int] = {}
    # values that differ only below a microsecond, or as integer and float, are one key
    number = [-1 if key is None else numbers.setdefault(key, len(numbers)) for key in encoded]
    return np.array([*number, -1], dtype=np.int64)[codes], list(numbers)


def _dense(column: pa.Array) -> tuple[np.ndarray, pa.Array]:
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    return np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64), encoded.dictionary


def _text_key(text: bytes) -> bytes:
    return b"s" + struct.pack("<I", len(text)) + text


EVERYBODY = _text_key(b"")
"""The entity of a view without entities. Feast gives such a view a join key `__dummy_id` whose value is '', and takes it from
the view's object again when history is asked of it."""


def join_key_columns(table: pa.Table, join_keys: Iterable[str]) -> list[list[object]]:
    """The key columns of a table as Python values, as entity_bytes takes them; timestamps as microseconds."""
    return [_plain_keys(table[name]) for name in join_keys]


def _plain_keys(column: pa.Array | pa.ChunkedArray) -> list[object]:
    data_type = column.type
    if pa.types.is_timestamp(data_type):
        return column.cast(pa.timestamp("us", data_type.tz)).cast(pa.int64()).to_pylist()
    return column.to_pylist()


def _key_bytes(value: object) -> bytes | None:
    if value is None or value != value:
        return None
    if isinstance(value, float | np.floating) and value.is_integer():
        value = int(value)  # pandas makes nullable integers floats
    if isinstance(value, str):
        return _text_key(value.encode())
    if isinstance(value, bytes):
        kind, body = b"b", value
    elif isinstance(value, bool | int | np.integer):
        kind, body = b"i", _word(int(value))
    else:
        kind, body = b"o", str(value).encode()
    return kind + struct.pack("<I", len(body)) + body


def _word(key: int) -> bytes:
    try:
        return struct.pack("<q", key)
    except struct.error:
        raise ValueError(f"The join key {key} leaves int64; keep such keys as text.") from None


def _is_text(data_type: pa.DataType) -> bool:
    return pa.types.is_string(data_type) or pa.types.is_large_string(data_type) or pa.types.is_string_view(data_type)


def _is_binary(data_type: pa.DataType) -> bool:
    return pa.types.is_binary(data_type) or pa.types.is_large_binary(data_type) or pa.types.is_fixed_size_binary(data_type)


def _is_integral(data_type: pa.DataType) -> bool:
    return pa.types.is_boolean(data_type) or (pa.types.is_temporal(data_type) and not pa.types.is_interval(data_type))


def _integral(data_type: pa.DataType) -> pa.DataType:
    """The integer type a boolean or temporal type casts to."""
    if pa.types.is_boolean(data_type):
        return pa.int8()
    return pa.int32() if data_type.bit_width == 32 else pa.int64()
