"""The rows of a fold: a state's raw rows and those that arrived, in one order; and those that stay raw, written back."""

from typing import NamedTuple

import numpy as np

from plumbline.compiled import inlined
from plumbline.fold_times import Times
from plumbline.plan import Plan
from plumbline.state_parts import Parts, States
from plumbline.state_records import ARRIVED, Record, Texts, comes_before
from plumbline.state_words import CREATED, EVENT, FIXED_WORDS, ID, UNORDERED_WORDS, VALID


class Arrived(NamedTuple):
    """New rows of all states, each state's sorted by event time: int64 (n, FIXED_WORDS + value words), and their heap."""

    words: np.ndarray
    heap: np.ndarray


class Room(NamedTuple):
    """Memory for what is made of one state at a time, so that none is asked for in between; n rows are the most of any.

    rows, words       int64 (n, FIXED_WORDS + value words), and the same flat
    order, keys, seen int64 (n,)
    """

    rows: np.ndarray
    words: np.ndarray
    order: np.ndarray
    keys: np.ndarray
    seen: np.ndarray


class Folding(NamedTuple):
    """One state as it is folded: what is stored, its rows in order, and the first `leaving` of them, which leave the head.

    Of pushed rows none leaves for the tiles: `leaving` is 0, whatever is forgotten.
    """

    plan: Plan
    states: States
    parts: Parts
    texts: Texts
    times: Times
    room: Room
    leaving: int


@inlined
def rows_in_order(
    plan: Plan, states: States, parts: Parts, arrived: Arrived, begin: int, end: int, texts: Texts, with_order: int, room: Room
) -> int:
    """A state's raw rows and arrived rows begin to end, merged in the order of time, and of first and last if it is kept.

    They are the first of room.rows; how many. References are absolute; without order the created times and ids mean nothing.
    Among equals stored rows come first, then those that arrived first.
    """
    count, order = parts.row_count + end - begin, room.order
    _order_arrived(arrived, begin, end, texts, with_order, order)
    stored, new = 0, 0
    for k in range(count):
        takes_new = stored == parts.row_count
        if not takes_new and new < end - begin:
            takes_new = _is_before(_arrived(arrived, order[new]), _stored(states, parts, stored), texts, with_order)
        if takes_new:
            _load_arrived(plan, arrived, order[new], room.rows, k)
            new += 1
        else:
            _load_stored(plan, states, parts, stored, room.rows, k)
            stored += 1
    return count


@inlined
def write_rows(rows: np.ndarray, first: int, end: int, with_order: int, words: np.ndarray, at: int) -> int:
    """Write the rows from `first` to before `end` to words[at:]; where they end."""
    fixed = FIXED_WORDS if with_order else UNORDERED_WORDS
    for k in range(first, end):
        for word in range(fixed):
            words[at + word] = rows[k, word]
        for word in range(FIXED_WORDS, rows.shape[1]):
            words[at + fixed + word - FIXED_WORDS] = rows[k, word]
        at += fixed + rows.shape[1] - FIXED_WORDS
    return at


@inlined
def is_valid(rows: np.ndarray, k: int, column: int) -> bool:
    """Whether a column of row k is not null."""
    return (rows[k, VALID] >> column) & 1 == 1


@inlined
def _order_arrived(arrived: Arrived, begin: int, end: int, texts: Texts, with_order: int, order: np.ndarray) -> None:
    """Put arrived rows begin to end in order; they are sorted by time, so only those of one instant change places."""
    for k in range(end - begin):
        order[k] = begin + k
    for k in range(1, end - begin if with_order else 0):
        row, place = order[k], k
        while place > 0 and _is_before(_arrived(arrived, row), _arrived(arrived, order[place - 1]), texts, with_order):
            order[place] = order[place - 1]
            place -= 1
        order[place] = row


@inlined
def _is_before(a: Record, b: Record, texts: Texts, with_order: int) -> bool:
    return comes_before(texts, a, b) if with_order else a.event_us < b.event_us


@inlined
def _arrived(arrived: Arrived, k: int) -> Record:
    """What orders an arrived row."""
    words = arrived.words
    return Record(words[k, EVENT], words[k, CREATED], words[k, ID] | ARRIVED, 0)


@inlined
def _stored(states: States, parts: Parts, k: int) -> Record:
    """What orders a stored raw row; only its time means anything where it keeps no order."""
    at = parts.rows + k * parts.row_words
    if parts.fixed == UNORDERED_WORDS:
        return Record(states.words[at + EVENT], 0, 0, 0)
    return Record(states.words[at + EVENT], states.words[at + CREATED], states.words[at + ID] + parts.texts, 0)


@inlined
def _load_stored(plan: Plan, states: States, parts: Parts, stored: int, rows: np.ndarray, k: int) -> None:
    at = parts.rows + stored * parts.row_words
    rows[k, CREATED], rows[k, ID] = 0, 0
    for word in range(parts.fixed):
        rows[k, word] = states.words[at + word]
    for word in range(plan.value_words):
        rows[k, FIXED_WORDS + word] = states.words[at + parts.fixed + word]
    rows[k, ID] += parts.texts
    for word in plan.texts:
        rows[k, FIXED_WORDS + word] += parts.texts


@inlined
def _load_arrived(plan: Plan, arrived: Arrived, new: int, rows: np.ndarray, k: int) -> None:
    for word in range(rows.shape[1]):
        rows[k, word] = arrived.words[new, word]
    rows[k, ID] |= ARRIVED
    for word in plan.texts:
        rows[k, FIXED_WORDS + word] |= ARRIVED
