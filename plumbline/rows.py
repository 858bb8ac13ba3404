"""Raw events of one view as the words that a fold takes in."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plumbline.layout import Column, Layout
from plumbline.plan import BYTES, FLOAT, INTEGER, PRESENCE
from plumbline.state_words import CREATED, EVENT, FIXED_WORDS, ID, MAX_TEXT_BYTES, REFERENCE_BITS, VALID
from plumbline.value_codec import binary_values

EVENT_TIMESTAMP, CREATED_TIMESTAMP, EVENT_ID = (
    Column(name, PRESENCE, pa.null(), -1, -1) for name in ("event_timestamp", "created_timestamp", "event_id")
)
"""What every event has, as it is."""


@dataclass(frozen=True)
class Rows:
    """n events of a view.

    words  int64 (n, 4 + value words): event time, one bit a column that is not null, created time, id, values; times in
           microseconds since the epoch, UTC; id and text are references into the heap; NaN counts as null
    heap   uint8: the bytes of ids and texts
    """

    words: np.ndarray
    heap: np.ndarray

    def __len__(self) -> int:
        return len(self.words)

    @property
    def at(self) -> np.ndarray:
        """(n,) event times in microseconds since the epoch."""
        return self.words[:, EVENT]

    def ids(self) -> list[bytes]:
        """Each row's id, empty where it has none."""
        return [self.text(reference) for reference in self.words[:, ID].tolist()]

    def text(self, reference: int) -> bytes:
        """The bytes that a reference refers to."""
        start = reference >> REFERENCE_BITS
        return self.heap[start : start + (reference & MAX_TEXT_BYTES)].tobytes()

    def take(self, chosen: np.ndarray) -> "Rows":
        """The chosen rows (a mask or indices) over the same heap."""
        return Rows(self.words[chosen], self.heap)


def together(texts: np.ndarray, parts: Sequence[Rows]) -> Rows:
    """Rows of several heaps over one; `texts` are the value words that refer to it (Plan.texts)."""
    words, heap = np.concatenate([part.words for part in parts]), np.concatenate([part.heap for part in parts])
    sizes = [len(part.heap) for part in parts]
    moved = np.repeat(np.cumsum([0, *sizes[:-1]]), [len(part) for part in parts]) << REFERENCE_BITS
    for word in (ID, *(FIXED_WORDS + texts)):
        words[:, word] += moved
    return Rows(words, heap)


def rows_from_table(table: pa.Table, layout: Layout, keep_ids: bool) -> Rows:
    """Rows of an event table that has event_timestamp, created_timestamp, event_id and the view's columns.

    keep_ids  whether ids are needed: for the order of first and last, or to recognise pushed rows
    Columns are cast to the type that the view was declared over; raises ValueError naming the column when one does not fit.
    """
    return EventColumns(table).rows(layout, keep_ids)


class EventColumns:
    """The columns of an event table as the words of rows; what several views aggregate is converted once."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._converted: dict[tuple[object, ...], Any] = {}

    def rows(self, layout: Layout, keep_ids: bool) -> Rows:
        """rows_from_table of this table."""
        words = np.zeros((self._table.num_rows, FIXED_WORDS + layout.value_words), dtype=np.int64)
        heap = _Heap()
        words[:, EVENT] = self._once(_microseconds, EVENT_TIMESTAMP)
        words[:, CREATED] = self._once(_microseconds, CREATED_TIMESTAMP)
        if keep_ids:
            words[:, ID] = heap.references(self._once(_binary, EVENT_ID), EVENT_ID.name)
        for i, column in enumerate(layout.column_list):
            words[:, VALID] |= self._once(_valid, column) << i
            if column.storage == BYTES and column.value_word >= 0:
                words[:, FIXED_WORDS + column.value_word] = heap.references(self._once(_binary, column), column.name)
            if column.storage == BYTES and column.key_word >= 0:
                words[:, FIXED_WORDS + column.key_word] = self._once(_keys, column)
            if column.storage in (INTEGER, FLOAT):
                words[:, FIXED_WORDS + column.value_word] = self._once(_numbers, column)
        return Rows(words, heap.bytes())

    def _once(self, convert: Callable[[pa.Array, Column], Any], column: Column) -> Any:
        """A column converted, the first time that it is asked for in this way."""
        how = convert, column.name, column.storage, column.type_name
        if how not in self._converted:
            self._converted[how] = convert(self._table[column.name].combine_chunks(), column)
        return self._converted[how]


class _Heap:
    """Bytes of ids and texts, one column after the other."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._size = 0

    def references(self, values: pa.Array, name: str) -> np.ndarray:
        """A reference a value (large_binary), of length 0 where it is null."""
        _, offsets, data = values.buffers()
        if len(values) == 0 or data is None:
            return np.zeros(len(values), dtype=np.int64)
        bounds = np.frombuffer(offsets, dtype=np.int64)[values.offset : values.offset + len(values) + 1]
        lengths = np.diff(bounds)
        if lengths.max() > MAX_TEXT_BYTES:
            raise ValueError(f"Column '{name}' holds a value of {lengths.max()} bytes; at most {MAX_TEXT_BYTES} are allowed.")
        used = np.frombuffer(data, dtype=np.uint8)[bounds[0] : bounds[-1]]
        references = (self._size + bounds[:-1] - bounds[0]) << REFERENCE_BITS | lengths
        self._parts.append(used)
        self._size += len(used)
        return references

    def bytes(self) -> np.ndarray:
        return np.concatenate(self._parts) if self._parts else np.zeros(1, dtype=np.uint8)


def _declared(array: pa.Array, column: Column) -> pa.Array:
    """A column as the view declared it; where only presence counts, as it is."""
    if column.storage == PRESENCE or array.type == column.data_type:
        return array
    try:
        return array.cast(column.data_type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"Column '{column.name}' does not fit its declared type {column.data_type}: {error}") from None


def _valid(array: pa.Array, column: Column) -> np.ndarray:
    """1 where there is a value, 0 where it is null or NaN; int64."""
    array = _declared(array, column)
    if pa.types.is_floating(array.type):
        return (~np.isnan(array.to_numpy(zero_copy_only=False))).astype(np.int64)  # nulls come as NaN
    if not array.null_count:
        return np.ones(len(array), np.int64)
    return pc.is_valid(array).to_numpy(zero_copy_only=False).astype(np.int64)


def _numbers(array: pa.Array, column: Column) -> np.ndarray:
    """Integers, or the bits of floats, 0 where null; int64."""
    number = pa.float64() if column.storage == FLOAT else pa.int64()
    try:
        array = _declared(array, column).cast(number)
    except pa.ArrowInvalid as error:
        raise ValueError(f"Column '{column.name}' holds a number that leaves int64: {error}") from None
    filled = (pc.fill_null(array, pa.scalar(0, number)) if array.null_count else array).to_numpy(zero_copy_only=False)
    return (filled + 0.0).view(np.int64) if column.storage == FLOAT else filled  # adding 0.0 makes the two zeros one value


def _binary(array: pa.Array, column: Column) -> pa.Array:
    """binary_values of a column."""
    return binary_values(_declared(array, column))


def _keys(array: pa.Array, column: Column) -> np.ndarray:
    """64-bit keys of byte strings (BLAKE2b), by which distinct values are told apart; 0 for null."""
    encoded = _binary(array, column).dictionary_encode()
    hashes = [
        int.from_bytes(hashlib.blake2b(value, digest_size=8).digest(), "little", signed=True)
        for value in encoded.dictionary.to_pylist()
    ]
    codes = pc.fill_null(encoded.indices, len(hashes)).to_numpy(zero_copy_only=False)
    return np.array([*hashes, 0], dtype=np.int64)[codes]


def _microseconds(array: pa.Array, column: Column) -> np.ndarray:
    return array.cast(pa.int64()).to_numpy(zero_copy_only=False)
