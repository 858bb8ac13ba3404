"""The compiled read of first, last and count_distinct: the best record, and when each value was last seen."""

import numpy as np

from plumbline.aggregates.entry import NULL, VALUE
from plumbline.compiled import inlined, kernel
from plumbline.durations import MICROSECOND
from plumbline.fold_kept import key_word
from plumbline.plan import FIRST, LAST, Plan
from plumbline.state_parts import Parts, States, distinct_count, first_at_or_after, is_there, last_record, parts_of
from plumbline.state_records import Record, Texts, comes_before, row_record, stored_record
from plumbline.state_words import EVENT, NEVER, VALID

_NOTHING = Record(NEVER, NEVER, 0, 0)


@inlined
def ordered(plan: Plan, window: np.record, states: States, begin: int, end: int, start: int, at_us: int) -> tuple[int, int]:
    """First or last of a column in [start, at) over the states begin to end, and whether there is one: NULL or VALUE."""
    best = _NOTHING
    for s in range(begin, end):
        parts = parts_of(plan, states, s)
        best = _better(window, states, best, _of_rows(plan, window, states, parts, start, at_us))
        if window.evaluation == LAST and is_there(parts):
            place = last_record(parts.begin, window.place)
            if states.words[place] and states.words[place + 1] >= start:
                best = _better(window, states, best, stored_record(plan, states, parts, place, window.column))
        elif window.evaluation == FIRST and window.slide_us > MICROSECOND:
            best = _better(window, states, best, _of_tiles(plan, window, states, parts, start))
    return best.value, NULL if best.event_us == NEVER else VALUE


@kernel
def last_seen(plan: Plan, window: np.record, states: States, begin: int, end: int, at_us: int) -> np.ndarray:
    """When each value of a column was last seen before `at_us`, over the states begin to end."""
    most = 0
    for s in range(begin, end):
        parts = parts_of(plan, states, s)
        most += parts.row_count + _kept_values(plan, states, parts, window.place)
    keys, seen = np.empty(most, np.int64), np.empty(most, np.int64)
    count = 0
    for s in range(begin, end):
        parts = parts_of(plan, states, s)
        word = parts.distinct
        for i in range(window.place):
            word += 2 * _kept_values(plan, states, parts, i)
        for _ in range(_kept_values(plan, states, parts, window.place)):
            keys[count], seen[count] = states.words[word], states.words[word + 1]
            word, count = word + 2, count + 1
        for k in range(parts.row_count):
            row = parts.rows + k * parts.row_words
            if states.words[row + EVENT] >= at_us:
                break
            if (states.words[row + VALID] >> window.column) & 1:
                keys[count] = states.words[row + parts.fixed + key_word(plan, window.column)]
                seen[count] = states.words[row + EVENT]
                count += 1
    return _latest_of_each(keys[:count], seen[:count])


@inlined
def count_since(seen: np.ndarray, start: int) -> int:
    """How many values were last seen at or after an instant."""
    count = 0
    for last in seen:
        count += last >= start
    return count


@inlined
def _kept_values(plan: Plan, states: States, parts: Parts, i: int) -> int:
    return states.words[distinct_count(plan, parts.begin, i)] if is_there(parts) else 0


@kernel
def _latest_of_each(keys: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The latest instant of each different key."""
    order = np.argsort(keys)
    latest = np.empty(len(keys), np.int64)
    values = 0
    for i in range(len(keys)):
        if i and keys[order[i]] == keys[order[i - 1]]:
            latest[values - 1] = max(latest[values - 1], seen[order[i]])
        else:
            latest[values] = seen[order[i]]
            values += 1
    return latest[:values]


@inlined
def _of_rows(plan: Plan, window: np.record, states: States, parts: Parts, start: int, at_us: int) -> Record:
    """The first or last raw row of [start, at) that is not null; rows are in the order of first and last."""
    words = states.words
    low = first_at_or_after(words, parts.rows, parts.row_count, parts.row_words, start)
    high = first_at_or_after(words, parts.rows, parts.row_count, parts.row_words, at_us)
    for i in range(high - low):
        row = parts.rows + (low + i if window.evaluation == FIRST else high - 1 - i) * parts.row_words
        if (words[row + VALID] >> window.column) & 1:
            return row_record(plan, states, parts, row, window.column)
    return _NOTHING


@inlined
def _of_tiles(plan: Plan, window: np.record, states: States, parts: Parts, start: int) -> Record:
    """The first of the records in tiles from `start` on: tiles are in order of time, so the first that has one."""
    first = first_at_or_after(states.words, parts.tiles, parts.tile_count, plan.tile_words, start)
    for tile in range(first, parts.tile_count):
        place = parts.tiles + tile * plan.tile_words + window.place
        if states.words[place]:
            return stored_record(plan, states, parts, place, window.column)
    return _NOTHING


@inlined
def _better(window: np.record, states: States, best: Record, other: Record) -> Record:
    """The earlier of two records for first, the later for last."""
    if other.event_us == NEVER:
        return best
    if best.event_us == NEVER:
        return other
    texts = Texts(states.heap, states.heap)
    if window.evaluation == FIRST:
        return other if comes_before(texts, other, best) else best
    return other if comes_before(texts, best, other) else best
