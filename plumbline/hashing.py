"""Hashes of columns, the same in every process: for finding repeated ids, and for spreading entities over tasks."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from plumbline.compiled import kernel
from plumbline.log_times import int64_values, valid_mask


def hashes(values: pa.ChunkedArray) -> np.ndarray:
    """(n,) uint64: equal values of one type have equal hashes; that of a null means nothing."""
    if pa.types.is_signed_integer(values.type):
        return spread(int64_values(values))
    texts = values if _is_bytes(values.type) else values.cast(pa.string())
    parts = [_text_hashes(chunk) for chunk in texts.chunks]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint64)


def _text_hashes(chunk: pa.Array) -> np.ndarray:
    _, offsets, data = chunk.buffers()
    if offsets is None or not len(chunk):
        return np.zeros(len(chunk), dtype=np.uint64)
    bounds = np.frombuffer(offsets, dtype=np.int64 if _is_large(chunk.type) else np.int32)
    text = np.empty(0, dtype=np.uint8) if data is None else np.frombuffer(data, dtype=np.uint8)
    return _hash_bytes(bounds[chunk.offset : chunk.offset + len(chunk) + 1], text)


def _is_large(data_type: pa.DataType) -> bool:
    return pa.types.is_large_string(data_type) or pa.types.is_large_binary(data_type)


def _is_bytes(data_type: pa.DataType) -> bool:
    return pa.types.is_string(data_type) or pa.types.is_binary(data_type) or _is_large(data_type)


@kernel
def _hash_bytes(bounds: np.ndarray, data: np.ndarray) -> np.ndarray:
    """FNV-1a over eight bytes at a time."""
    hashes = np.empty(len(bounds) - 1, dtype=np.uint64)
    prime = np.uint64(1099511628211)
    for row in range(len(hashes)):
        value = np.uint64(14695981039346656037)
        begin, end = bounds[row], bounds[row + 1]
        i = begin
        while i + 8 <= end:
            word = np.uint64(0)
            for byte in range(8):
                word |= np.uint64(data[i + byte]) << np.uint64(8 * byte)
            value = (value ^ word) * prime
            value ^= value >> np.uint64(29)
            i += 8
        while i < end:
            value = (value ^ np.uint64(data[i])) * prime
            i += 1
        value = (value ^ np.uint64(end - begin)) * prime
        hashes[row] = value ^ (value >> np.uint64(32))
    return hashes


def entity_hashes(columns: Sequence[pa.ChunkedArray], rows: int) -> np.ndarray:
    """(rows,) uint64: rows of equal values, column by column, have equal hashes; without columns all rows have one."""
    mixed = np.zeros(rows, dtype=np.uint64)
    for column in columns:
        hashed = np.where(valid_mask(column), hashes(column), np.uint64(0))
        mixed = spread(mixed ^ hashed) ^ (hashed >> np.uint64(31))
    return mixed


def buckets(hashed: np.ndarray, count: int) -> np.ndarray:
    """(n,) int64 in [0, count): equal hashes are in one bucket."""
    return ((hashed >> np.uint64(32)) % np.uint64(count)).astype(np.int64)


def spread(numbers: np.ndarray) -> np.ndarray:
    """Integers multiplied into all 64 bits (splitmix64's constant)."""
    with np.errstate(over="ignore"):
        return numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
