"""Which rows of a log count: the rules of duplicates and lateness, as a function of rows, so that every reader agrees.

An `event_id` counts once: a delivery is a duplicate when an accepted one of the same id with a smaller offset in the
same partition exists whose event time + allowed lateness is not before this one's creation. One created more than the
allowed lateness after its time is too late, one dated more than five minutes ahead of its creation is refused; neither
claims an id. History (rows without a partition) is exempt.
"""

import numpy as np
import pyarrow as pa

from plumbline.compiled import kernel
from plumbline.durations import MINUTE
from plumbline.hashing import hashes, spread
from plumbline.log_times import int64_values, valid_mask

MAX_AHEAD_US = 5 * MINUTE
"""An event dated further ahead of its creation than this is refused."""
MANY_PARTITIONS = 1 << 15
"""More partitions than a topic has; a log with larger numbers is only read more slowly."""
BITS_A_DELIVERY = 32
"""Marks a delivery when ids are looked through for repeats: one in 32 is suspected without cause and looked at again."""


def accepted(table: pa.Table, allowed_lateness_us: int) -> np.ndarray:
    """(n,) bool: the rows of a log that count.

    table  event_timestamp and created_timestamp (timestamp[us, UTC]; a null created_timestamp means known when it
           happened), event_id, source_partition and source_offset (null where the log has none), rows in any order

    Decided among the rows given, so a partition's rows that share an id must all be there. Two rows of one (partition,
    offset) are one record: the first counts. A null event_id is never a duplicate. A row without a time never counts.
    """
    counts = recorded(table, allowed_lateness_us)
    candidates = np.flatnonzero(counts & is_streamed(table))
    if not len(candidates):
        return counts
    partition = int64_values(table["source_partition"])
    disputed = candidates[_disputed(table["event_id"], partition, candidates)]
    if len(disputed):
        event_us, created_us = _times(table)
        order, starts = _deliveries(table["event_id"], partition, int64_values(table["source_offset"]), disputed)
        counts[order] = _claims(starts, event_us[order] + allowed_lateness_us, created_us[order])
    return counts


def recorded(table: pa.Table, allowed_lateness_us: int) -> np.ndarray:
    """(n,) bool: the rows that count but for their ids: history, and timely records of a topic, each once."""
    time_known, streamed = valid_mask(table["event_timestamp"]), is_streamed(table)
    if not streamed.any():
        return time_known
    event_us, created_us = _times(table)
    timely = (created_us - event_us <= allowed_lateness_us) & (event_us - created_us <= MAX_AHEAD_US)
    partition, offset = int64_values(table["source_partition"]), int64_values(table["source_offset"])
    counts = time_known & ~streamed
    counts[_once(np.flatnonzero(streamed & time_known & timely), partition, offset)] = True
    return counts


def is_streamed(table: pa.Table) -> np.ndarray:
    """(n,) bool: the rows of a log that are records of a topic; the others are history."""
    return valid_mask(table["source_partition"]) & valid_mask(table["source_offset"])


def repeated(marks: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Places of those known uint64 that are there more than once."""
    bits = max(10, int(np.ceil(np.log2(BITS_A_DELIVERY * len(marks) + 1))))
    suspects = np.flatnonzero(_marked_twice(marks, known, bits))
    ordered = np.sort(marks[suspects])
    return suspects[np.isin(marks[suspects], ordered[1:][ordered[1:] == ordered[:-1]])]


def _times(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Event and creation times in microseconds; who has no creation was known when it happened."""
    event_us, created_us = int64_values(table["event_timestamp"]), int64_values(table["created_timestamp"])
    return event_us, np.where(valid_mask(table["created_timestamp"]), created_us, event_us)


def _once(candidates: np.ndarray, partition: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """The candidates without second copies of a (partition, offset)."""
    if _rises(candidates, partition, offset, np.full(MANY_PARTITIONS, -1)):
        return candidates
    partition, offset = partition[candidates], offset[candidates]
    order = np.lexsort((candidates, offset, partition))
    repeats = (np.diff(partition[order]) == 0) & (np.diff(offset[order]) == 0)
    return np.sort(candidates[order[np.concatenate(([True], ~repeats))]])


@kernel
def _rises(candidates: np.ndarray, partition: np.ndarray, offset: np.ndarray, last: np.ndarray) -> bool:
    """Whether offsets rise from row to row of each partition, so that no two are equal; `last` holds -1 a partition."""
    for row in candidates:
        number = partition[row]
        if number < 0 or number >= len(last) or offset[row] <= last[number]:
            return False
        last[number] = offset[row]
    return True


def _disputed(ids: pa.ChunkedArray, partition: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Which candidates may share an id with another: their places among the candidates, with few false alarms."""
    return repeated((hashes(ids) + spread(partition))[candidates], valid_mask(ids)[candidates])


@kernel
def _marked_twice(slots: np.ndarray, known: np.ndarray, bits: int) -> np.ndarray:
    """(n,) True where another slot has the same of 2 ** bits marks (a Bloom filter of one hash, and one of second times)."""
    shift, words = np.uint64(64 - bits), 1 << (bits - 6)
    once, twice = np.zeros(words, np.uint64), np.zeros(words, np.uint64)
    multiplier, low, six = np.uint64(0x9E3779B97F4A7C15), np.uint64(63), np.uint64(6)
    for i in range(len(slots)):
        if known[i]:
            mark = slots[i] * multiplier >> shift
            word, bit = mark >> six, np.uint64(1) << (mark & low)
            twice[word] |= once[word] & bit
            once[word] |= bit
    marked = np.zeros(len(slots), np.bool_)
    for i in range(len(slots)):
        if known[i]:
            mark = slots[i] * multiplier >> shift
            marked[i] = twice[mark >> six] >> (mark & low) & np.uint64(1)
    return marked


def _deliveries(
    ids: pa.ChunkedArray, partition: np.ndarray, offset: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows by (partition, id, offset), and where in that order each (partition, id) begins."""
    codes = ids.take(pa.array(rows)).combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    partition = partition[rows]
    order = np.lexsort((offset[rows], codes, partition))
    changes = (np.diff(partition[order]) != 0) | (np.diff(codes[order]) != 0)
    return rows[order], np.concatenate(([0], np.flatnonzero(changes) + 1, [len(order)]))


@kernel
def _claims(starts: np.ndarray, claims_until_us: np.ndarray, created_us: np.ndarray) -> np.ndarray:
    """Of each id's deliveries in order of offset, those that no accepted earlier one still claims."""
    counts = np.zeros(len(created_us), dtype=np.bool_)
    for group in range(len(starts) - 1):
        claimed = False
        until_us = np.int64(0)
        for i in range(starts[group], starts[group + 1]):
            if not claimed or created_us[i] > until_us:
                counts[i] = True
                until_us = max(until_us, claims_until_us[i]) if claimed else claims_until_us[i]
                claimed = True
    return counts
