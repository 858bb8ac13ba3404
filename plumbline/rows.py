"""Raw events of one view as the words that a fold takes in."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plumbline.layout import Column, Layout
from plumbline.plan import BYTES, FLOAT, PRESENCE
from plumbline.state_words import CREATED, EVENT, FIXED_WORDS, ID, MAX_TEXT_BYTES, REFERENCE_BITS, VALID
from plumbline.value_codec import binary_values


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


def rows_from_table(table: pa.Table, layout: Layout, keep_ids: bool) -> Rows:
    """Rows of an event table that has event_timestamp, created_timestamp, event_id and the view's columns.

    keep_ids  whether ids are needed: for the order of first and last, or to recognise pushed rows
    Columns are cast to the type that the view was declared over; raises ValueError naming the column when one does not fit.
    """
    words = np.zeros((table.num_rows, FIXED_WORDS + layout.value_words), dtype=np.int64)
    heap = _Heap()
    words[:, EVENT] = _microseconds(table["event_timestamp"])
    words[:, CREATED] = _microseconds(table["created_timestamp"])
    if keep_ids:
        ids = table["event_id"]
        words[:, ID] = heap.references(binary_values(ids.combine_chunks()), "event_id")
    for i, column in enumerate(layout.column_list):
        valid = _take_column(table[column.name].combine_chunks(), column, words, heap)
        words[:, VALID] |= valid.astype(np.int64) << i
    return Rows(words, heap.bytes())


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


def _take_column(array: pa.Array, column: Column, words: np.ndarray, heap: _Heap) -> np.ndarray:
    if column.storage == PRESENCE:
        return _is_present(array)
    try:
        array = array.cast(column.data_type) if array.type != column.data_type else array
    except pa.ArrowInvalid as error:
        raise ValueError(f"Column '{column.name}' does not fit its declared type {column.data_type}: {error}") from None
    valid = _is_present(array)
    if column.storage == BYTES:
        values = binary_values(array)
        if column.value_word >= 0:
            words[:, FIXED_WORDS + column.value_word] = heap.references(values, column.name)
        if column.key_word >= 0:
            words[:, FIXED_WORDS + column.key_word] = _keys(values)
        return valid
    number = pa.float64() if column.storage == FLOAT else pa.int64()
    try:
        filled = pc.fill_null(array.cast(number), pa.scalar(0, number)).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid as error:
        raise ValueError(f"Column '{column.name}' holds a number that leaves int64: {error}") from None
    # adding 0.0 makes the two zeros one value
    words[:, FIXED_WORDS + column.value_word] = (filled + 0.0).view(np.int64) if column.storage == FLOAT else filled
    return valid


def _keys(values: pa.Array) -> np.ndarray:
    """64-bit keys of byte strings (BLAKE2b), by which distinct values are told apart; 0 for null."""
    encoded = values.dictionary_encode()
    hashes = [
        int.from_bytes(hashlib.blake2b(value, digest_size=8).digest(), "little", signed=True)
        for value in encoded.dictionary.to_pylist()
    ]
    codes = pc.fill_null(encoded.indices, len(hashes)).to_numpy(zero_copy_only=False)
    return np.array([*hashes, 0], dtype=np.int64)[codes]


def _is_present(array: pa.Array) -> np.ndarray:
    present = pc.is_valid(array)
    if pa.types.is_floating(array.type):
        present = pc.and_(present, pc.invert(pc.fill_null(pc.is_nan(array), True)))
    return np.asarray(present.to_numpy(zero_copy_only=False), dtype=bool)


def _microseconds(column: pa.ChunkedArray) -> np.ndarray:
    return column.combine_chunks().cast(pa.int64()).to_numpy(zero_copy_only=False)
