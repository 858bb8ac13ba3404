"""What a state keeps of the events before its head besides tiles: the last value, and when each distinct value was last seen.

Both are exact without tiles: a window that ends after the reach has the last value before the head if it is recent enough,
and counts the distinct values that were last seen inside it.
"""

import numpy as np

from plumbline.compiled import inlined
from plumbline.fold_rows import Folding, is_valid
from plumbline.plan import BYTES, Plan
from plumbline.state_parts import States, distinct_count, is_there, last_record
from plumbline.state_records import comes_before, record_of_row, stored_record, write_record, written_record
from plumbline.state_words import EVENT, FIXED_WORDS, RECORD_WORDS


@inlined
def write_lasts(folding: Folding, out: States, begin: int) -> None:
    """Write the record of each column of last of the state at `begin`: the latest one kept or leaving, if recent enough."""
    plan, words = folding.plan, out.words
    for i in range(len(plan.lasts)):
        column, stored, place = plan.lasts[i], last_record(folding.parts.begin, i), last_record(begin, i)
        if is_there(folding.parts) and folding.states.words[stored]:
            write_record(stored_record(plan, folding.states, folding.parts, stored, column), words, place)
        for k in range(folding.leaving - 1, -1, -1):
            if is_valid(folding.room.rows, k, column):
                record = record_of_row(plan, folding.room.rows, k, column)
                if not words[place] or not comes_before(folding.texts, record, written_record(words, place)):
                    write_record(record, words, place)
                break
        if words[place] and words[place + 1] < folding.times.oldest:
            words[place : place + RECORD_WORDS] = 0


@inlined
def write_distinct(folding: Folding, out: States, begin: int, at: int) -> int:
    """Write (key, last seen) of the values kept for count_distinct to out.words[at:]; where they end."""
    plan, stored = folding.plan, folding.parts.distinct
    for i in range(len(plan.distinct)):
        count = folding.states.words[distinct_count(plan, folding.parts.begin, i)] if is_there(folding.parts) else 0
        keys = _leaving_keys(folding, plan.distinct[i])
        written = _merge_seen(folding, stored, count, keys, out.words, at)
        out.words[distinct_count(plan, begin, i)] = written
        stored += 2 * count
        at += 2 * written
    return at


@inlined
def key_word(plan: Plan, column: int) -> int:
    """The word of a row, after the fixed ones, by which values of a column are told apart."""
    declared = plan.columns[column]
    return declared.key_word if declared.storage == BYTES else declared.value_word


@inlined
def _leaving_keys(folding: Folding, column: int) -> int:
    """Put the keys of the leaving rows that are not null, rising, into the room, and the time of each; how many."""
    rows, word = folding.room.rows, FIXED_WORDS + key_word(folding.plan, column)
    keys, seen = folding.room.keys, folding.room.seen
    count = 0
    for k in range(folding.leaving):
        if is_valid(rows, k, column):
            keys[count], seen[count] = rows[k, word], rows[k, EVENT]
            count += 1
    for begin in range(count // 2 - 1, -1, -1):
        _sift(keys, seen, begin, count)
    for end in range(count - 1, 0, -1):
        _swap(keys, seen, 0, end)
        _sift(keys, seen, 0, end)
    return count


@inlined
def _sift(keys: np.ndarray, seen: np.ndarray, at: int, end: int) -> None:
    """The step of a heap sort: it needs no memory, which numpy's would ask for once a state."""
    while 2 * at + 1 < end:
        child = 2 * at + 1
        if child + 1 < end and keys[child + 1] > keys[child]:
            child += 1
        if keys[at] >= keys[child]:
            break
        _swap(keys, seen, at, child)
        at = child


@inlined
def _swap(keys: np.ndarray, seen: np.ndarray, a: int, b: int) -> None:
    keys[a], keys[b] = keys[b], keys[a]
    seen[a], seen[b] = seen[b], seen[a]


@inlined
def _merge_seen(folding: Folding, stored: int, count: int, leaving: int, words: np.ndarray, at: int) -> int:
    """Merge `count` stored (key, last seen) with the leaving keys, both rising, into the latest of each if recent enough.

    How many are written.
    """
    kept, keys, seen, oldest = folding.states.words, folding.room.keys, folding.room.seen, folding.times.oldest
    written, old, new, end = 0, stored, 0, stored + 2 * count
    while old < end or new < leaving:
        key = kept[old] if new == leaving or (old < end and kept[old] <= keys[new]) else keys[new]
        last = oldest - 1
        while old < end and kept[old] == key:
            last = max(last, kept[old + 1])
            old += 2
        while new < leaving and keys[new] == key:
            last = max(last, seen[new])
            new += 1
        if last >= oldest:
            words[at + 2 * written], words[at + 2 * written + 1] = key, last
            written += 1
    return written
