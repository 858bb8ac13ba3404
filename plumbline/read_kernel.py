"""The compiled read: all windows of a view at one instant, from the states of many entities, one call.

A window of one entity is the events of [floor(at - window, slide), at) in all its states. Of each state the tiles from the
start of the window on, and the raw rows from there to `at`:

          start                                    at
      [tile)[tile)[tile)[. . . .  . . . .  . . . . . . .
            |-- merge --|------- update -----------|
"""

from typing import NamedTuple

import numpy as np

from plumbline.aggregates import WIDEST, finalize, merge, update
from plumbline.aggregates.entry import VALUE
from plumbline.compiled import inlined, kernel
from plumbline.durations import MICROSECOND
from plumbline.plan import DISTINCT, NUMERIC, Plan
from plumbline.read_kept import count_since, last_seen, ordered
from plumbline.state_parts import Parts, States, first_at_or_after, parts_of
from plumbline.state_words import EVENT, VALID


class Intermediate(NamedTuple):
    """Words of one intermediate, and the same memory as floats."""

    words: np.ndarray
    floats: np.ndarray


@kernel
def read_states(plan: Plan, states: States, entities: np.ndarray, at_us: int) -> tuple[np.ndarray, np.ndarray]:
    """Values (e, W) of every window of every entity, whose states are entities[e]:entities[e + 1], and what each is.

    What each is: NULL, VALUE or OVERFLOW. Values are words: int64, the bits of float64, or for text of first and last a
    reference into the heap of the states.
    """
    shape = len(entities) - 1, len(plan.windows)
    values, found = np.zeros(shape, np.int64), np.zeros(shape, np.uint8)
    floats = values.view(np.float64)
    scratch = np.zeros(WIDEST, np.int64)
    into = Intermediate(scratch, scratch.view(np.float64))
    for e in range(len(entities) - 1):
        begin, end = entities[e], entities[e + 1]
        counted, seen = -1, scratch[:0]
        for w in range(len(plan.windows)):
            window = plan.windows[w]
            start = (at_us - window.window_us) // window.slide_us * window.slide_us
            if window.evaluation == NUMERIC:
                _aggregate(plan, window, states, begin, end, start, at_us, into)
                found[e, w] = finalize(window.code, into.words, into.floats, 0, values[e], floats[e], w)
            elif window.evaluation == DISTINCT:
                if counted != window.column:
                    counted, seen = window.column, last_seen(plan, window, states, begin, end, at_us)
                values[e, w], found[e, w] = count_since(seen, start), VALUE
            else:
                values[e, w], found[e, w] = ordered(plan, window, states, begin, end, start, at_us)
    return values, found


@inlined
def _aggregate(
    plan: Plan, window: np.record, states: States, begin: int, end: int, start: int, at_us: int, into: Intermediate
) -> None:
    """The intermediate of one window over the states begin to end."""
    into.words[:] = 0
    for s in range(begin, end):
        parts = parts_of(plan, states, s)
        if window.slide_us > MICROSECOND:
            _merge_tiles(plan, window, states, parts, start, into)
        _update_rows(plan, window, states, parts, start, at_us, into)


@inlined
def _merge_tiles(plan: Plan, window: np.record, states: States, parts: Parts, start: int, into: Intermediate) -> None:
    first = first_at_or_after(states.words, parts.tiles, parts.tile_count, plan.tile_words, start)
    for tile in range(first, parts.tile_count):
        word = parts.tiles + tile * plan.tile_words + window.place
        merge(window.code, into.words, into.floats, 0, states.words, states.floats, word)


@inlined
def _update_rows(
    plan: Plan, window: np.record, states: States, parts: Parts, start: int, at_us: int, into: Intermediate
) -> None:
    words, value_word = states.words, plan.columns[window.column].value_word
    first = first_at_or_after(words, parts.rows, parts.row_count, parts.row_words, start)
    for k in range(first, parts.row_count):
        row = parts.rows + k * parts.row_words
        if words[row + EVENT] >= at_us:
            break
        if (words[row + VALID] >> window.column) & 1:
            x, y = 0, 0.0
            if value_word >= 0:
                x, y = words[row + parts.fixed + value_word], states.floats[row + parts.fixed + value_word]
            update(window.code, into.words, into.floats, 0, x, y)
