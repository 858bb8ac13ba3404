"""What a state keeps of the events before its head besides tiles: the last value, and when each distinct value was last seen.

Both are exact without tiles: a window that ends after the reach has the last value before the head if it is recent enough,
and counts the distinct values that were last seen inside it.
"""

import numpy as np

from plumbline.compiled import inlined, kernel
from plumbline.fold_rows import Folding, is_valid
from plumbline.plan import BYTES, Plan
from plumbline.state_parts import States, distinct_count, is_there, last_record
from plumbline.state_records import comes_before, record_of_row, stored_record, write_record, written_record
from plumbline.state_words import EVENT, FIXED_WORDS, RECORD_WORDS


@kernel
def write_lasts(folding: Folding, out: States, begin: int) -> None:
    """Write the record of each column of last of the state at `begin`: the latest one kept or leaving, if recent enough."""
    plan, words = folding.plan, out.words
    for i in range(len(plan.lasts)):
        column, stored, place = plan.lasts[i], last_record(folding.parts.begin, i), last_record(begin, i)
        if is_there(folding.parts) and folding.states.words[stored]:
            write_record(stored_record(plan, folding.states, folding.parts, stored, column), words, place)
        for k in range(folding.leaving - 1, -1, -1):
            if is_valid(folding.rows, k, column):
                record = record_of_row(plan, folding.rows, k, column)
                if not words[place] or not comes_before(folding.texts, record, written_record(words, place)):
                    write_record(record, words, place)
                break
        if words[place] and words[place + 1] < folding.times.oldest:
            words[place : place + RECORD_WORDS] = 0


@kernel
def write_distinct(folding: Folding, out: States, begin: int, at: int) -> int:
    """Write (key, last seen) of the values kept for count_distinct to out.words[at:]; where they end."""
    plan, stored = folding.plan, folding.parts.distinct
    for i in range(len(plan.distinct)):
        count = folding.states.words[distinct_count(plan, folding.parts.begin, i)] if is_there(folding.parts) else 0
        kept = folding.states.words[stored : stored + 2 * count]
        keys, seen = _leaving_keys(folding, plan.distinct[i])
        written = _merge_seen(kept, keys, seen, folding.times.oldest, out.words, at)
        out.words[distinct_count(plan, begin, i)] = written
        stored += 2 * count
        at += 2 * written
    return at


@inlined
def key_word(plan: Plan, column: int) -> int:
    """The word of a row, after the fixed ones, by which values of a column are told apart."""
    declared = plan.columns[column]
    return declared.key_word if declared.storage == BYTES else declared.value_word


@kernel
def _leaving_keys(folding: Folding, column: int) -> tuple[np.ndarray, np.ndarray]:
    """Keys of the leaving rows that are not null, rising, and the time of each."""
    rows, word = folding.rows, FIXED_WORDS + key_word(folding.plan, column)
    keys, seen = np.empty(folding.leaving, np.int64), np.empty(folding.leaving, np.int64)
    count = 0
    for k in range(folding.leaving):
        if is_valid(rows, k, column):
            keys[count], seen[count] = rows[k, word], rows[k, EVENT]
            count += 1
    order = np.argsort(keys[:count], kind="mergesort")
    return keys[order], seen[order]


@kernel
def _merge_seen(kept: np.ndarray, keys: np.ndarray, seen: np.ndarray, oldest: int, words: np.ndarray, at: int) -> int:
    """Merge kept (key, last seen) and leaving keys, both rising, into the latest of each if recent enough; how many."""
    written, old, new = 0, 0, 0
    while old < len(kept) or new < len(keys):
        key = kept[old] if new == len(keys) or (old < len(kept) and kept[old] <= keys[new]) else keys[new]
        last = oldest - 1
        while old < len(kept) and kept[old] == key:
            last = max(last, kept[old + 1])
            old += 2
        while new < len(keys) and keys[new] == key:
            last = max(last, seen[new])
            new += 1
        if last >= oldest:
            words[at + 2 * written], words[at + 2 * written + 1] = key, last
            written += 1
    return written
