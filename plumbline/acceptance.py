"""Which rows of a log count: the rules of duplicates and lateness, as a function of rows, so that every reader agrees.

An `event_id` counts once: a delivery is a duplicate when an accepted one of the same id with a smaller offset in the
same partition exists whose event time + allowed lateness is not before this one's creation. One created more than the
allowed lateness after its time is too late, one dated more than five minutes ahead of its creation is refused; neither
claims an id. History (rows without a partition) is exempt.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from plumbline.compiled import kernel
from plumbline.durations import MINUTE
from plumbline.hashing import hashes, spread
from plumbline.log_rows import EVENT_COLUMNS
from plumbline.log_times import int64_values, valid_mask

MAX_AHEAD_US = 5 * MINUTE
"""An event dated further ahead of its creation than this is refused."""
MANY_PARTITIONS = 1 << 15
"""More partitions than a topic has; a log with larger numbers is only read more slowly."""
LAST_INSTANT_US = np.iinfo(np.int64).max
BITS_A_DELIVERY = 8
"""Marks a delivery when ids are looked through for repeats: one in 8 is suspected without cause and looked at again.

Of more marks fewer are suspected, but they fit no cache: of 8 million deliveries 32 take 1.7 times as long.
"""


ACCEPTED, DUPLICATE, TOO_LATE, REFUSED = 0, 1, 2, 3
"""What becomes of a delivery."""


def timeliness(at: np.ndarray, created: np.ndarray, allowed_lateness_us: int) -> np.ndarray:
    """ACCEPTED, TOO_LATE or REFUSED for each delivery, by its times alone (microseconds)."""
    verdict = np.full(len(at), ACCEPTED, dtype=np.int8)
    is_late = created > at
    apart = np.where(is_late, created - at, at - created).view(np.uint64)  # as uint64 it never wraps
    verdict[is_late & (apart > allowed_lateness_us)] = TOO_LATE
    verdict[~is_late & (apart > MAX_AHEAD_US)] = REFUSED
    return verdict


def accepted(table: pa.Table, allowed_lateness_us: int) -> np.ndarray:
    """(n,) bool: the rows of a log that count.

    table  event_timestamp and created_timestamp (timestamp[us, UTC]; a null created_timestamp means known when it
           happened), event_id, source_partition and source_offset (null where the log has none), rows in any order

    Decided among the rows given, so a partition's rows that share an id must all be there. Two rows of one (partition,
    offset) are one record: the first counts. A null event_id is never a duplicate. A row without a time never counts.
    """
    counts = recorded(table, allowed_lateness_us)
    asked = counts & is_streamed(table)
    if not asked.any():
        return counts
    disputed = _disputed(table, asked)
    if len(disputed):
        deliveries = table.select(list(EVENT_COLUMNS)).take(pa.array(disputed))
        event_us, created_us = _times(deliveries)
        order, starts = _by_id(deliveries)
        claims_until_us = np.minimum(event_us, LAST_INSTANT_US - allowed_lateness_us) + allowed_lateness_us
        counts[disputed[order]] = _claims(starts, claims_until_us[order], created_us[order])
    return counts


def recorded(table: pa.Table, allowed_lateness_us: int) -> np.ndarray:
    """(n,) bool: the rows that count but for their ids: history, and timely records of a topic, each once."""
    streamed = is_streamed(table)
    if not streamed.any():
        return valid_mask(table["event_timestamp"])
    counts = np.empty(table.num_rows, np.bool_)
    last, is_rising = np.full(MANY_PARTITIONS, -1), True
    for part, batch in _batches(table, [name for name in EVENT_COLUMNS if name != "event_id"]):
        is_timely = timeliness(*_times(batch), allowed_lateness_us) == ACCEPTED
        counts[part] = valid_mask(batch["event_timestamp"]) & (is_timely | ~streamed[part])
        slots = int64_values(batch["source_partition"]), int64_values(batch["source_offset"])
        is_rising = is_rising and _rises(counts[part] & streamed[part], *slots, last)
    if not is_rising:
        _count_once(counts, streamed, int64_values(table["source_partition"]), int64_values(table["source_offset"]))
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


def _batches(table: pa.Table, names: Sequence[str]) -> Iterator[tuple[slice, pa.RecordBatch]]:
    """Some columns as they lie, run by run, so that nothing of a large log is copied; and which rows a run has."""
    first = 0
    for batch in table.select(names).to_batches():
        yield slice(first, first + batch.num_rows), batch
        first += batch.num_rows


def _times(rows: pa.Table | pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
    """Event and creation times in microseconds; who has no creation was known when it happened."""
    event_us, created_us = int64_values(rows["event_timestamp"]), int64_values(rows["created_timestamp"])
    if not rows["created_timestamp"].null_count:
        return event_us, created_us
    return event_us, np.where(valid_mask(rows["created_timestamp"]), created_us, event_us)


@kernel
def _rises(asked: np.ndarray, partition: np.ndarray, offset: np.ndarray, last: np.ndarray) -> bool:
    """Whether offsets rise from row to row of each partition, so that no two are equal.

    last  the offset of each partition's row before, -1 for none; it is moved on
    """
    for row in range(len(asked)):
        if asked[row]:
            number = partition[row]
            if number < 0 or number >= len(last) or offset[row] <= last[number]:
                return False
            last[number] = offset[row]
    return True


def _count_once(counts: np.ndarray, streamed: np.ndarray, partition: np.ndarray, offset: np.ndarray) -> None:
    """Take from `counts` all but the first of those streamed rows that have one (partition, offset)."""
    candidates = np.flatnonzero(counts & streamed)
    partition, offset = partition[candidates], offset[candidates]
    order = np.lexsort((candidates, offset, partition))
    repeats = (np.diff(partition[order]) == 0) & (np.diff(offset[order]) == 0)
    counts[candidates[order[1:][repeats]]] = False


def _disputed(table: pa.Table, asked: np.ndarray) -> np.ndarray:
    """Which of the rows asked about may share an id with another in their partition, with few false alarms."""
    marks, known = np.empty(len(asked), np.uint64), asked.copy()
    for part, batch in _batches(table, ["event_id", "source_partition"]):
        marks[part] = hashes(pa.chunked_array([batch["event_id"]])) + spread(int64_values(batch["source_partition"]))
        known[part] &= valid_mask(batch["event_id"])
    return repeated(marks, known)


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


def _by_id(deliveries: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Rows in the order of (partition, id, offset), and where in that order each (partition, id) begins."""
    codes = deliveries["event_id"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    partition = int64_values(deliveries["source_partition"])
    order = np.lexsort((int64_values(deliveries["source_offset"]), codes, partition))
    changes = (np.diff(partition[order]) != 0) | (np.diff(codes[order]) != 0)
    return order, np.concatenate(([0], np.flatnonzero(changes) + 1, [len(order)]))


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
