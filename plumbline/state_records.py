"""Records of first and last, and their order: by event time, created time and the bytes of the id.

A record in a state is RECORD_WORDS words: 1 when there is one, event time, created time, id, value. While states are read
or folded its references are absolute: an offset into the bytes of all stored states, or, marked ARRIVED, into the heap of
the new rows.
"""

from typing import NamedTuple

import numpy as np

from plumbline.compiled import inlined
from plumbline.plan import BYTES, Plan
from plumbline.state_parts import Parts, States
from plumbline.state_words import CREATED, EVENT, FIXED_WORDS, ID, REFERENCE_BITS

ARRIVED = 1 << 62
"""Marks a reference into the heap of the new rows."""

_LENGTH = (1 << REFERENCE_BITS) - 1


class Texts(NamedTuple):
    """Where references point: the bytes of the stored states and the heap of the new rows."""

    stored: np.ndarray
    arrived: np.ndarray


class Record(NamedTuple):
    """One value of first or last: when it happened, when it was known, references to its id and, for text, its value."""

    event_us: int
    created_us: int
    event_id: int
    value: int


@inlined
def record_of_row(plan: Plan, rows: np.ndarray, k: int, column: int) -> Record:
    """A column of row k of rows that keep their order."""
    row = rows[k]
    return Record(row[EVENT], row[CREATED], row[ID], row[FIXED_WORDS + plan.columns[column].value_word])


@inlined
def row_record(plan: Plan, states: States, parts: Parts, row: int, column: int) -> Record:
    """A column of the raw row of a state that begins at `row`."""
    words = states.words
    value = words[row + FIXED_WORDS + plan.columns[column].value_word]
    if plan.columns[column].storage == BYTES:
        value += parts.texts
    return Record(words[row + EVENT], words[row + CREATED], words[row + ID] + parts.texts, value)


@inlined
def stored_record(plan: Plan, states: States, parts: Parts, place: int, column: int) -> Record:
    """The record at a place of a state, which must hold one."""
    words = states.words
    value = words[place + 4]
    if plan.columns[column].storage == BYTES:
        value += parts.texts
    return Record(words[place + 1], words[place + 2], words[place + 3] + parts.texts, value)


@inlined
def comes_before(texts: Texts, a: Record, b: Record) -> bool:
    """The order of first and last; equal events are not before each other."""
    if a.event_us != b.event_us:
        return a.event_us < b.event_us
    if a.created_us != b.created_us:
        return a.created_us < b.created_us
    return _bytes_before(texts, a.event_id, b.event_id)


@inlined
def write_record(record: Record, words: np.ndarray, place: int) -> None:
    """Put a record into the words of a state; its references stay absolute until the heap is written."""
    words[place] = 1
    words[place + 1], words[place + 2], words[place + 3], words[place + 4] = record


@inlined
def written_record(words: np.ndarray, place: int) -> Record:
    """The record that was put there."""
    return Record(words[place + 1], words[place + 2], words[place + 3], words[place + 4])


@inlined
def length_of(reference: int) -> int:
    """How many bytes a reference refers to."""
    return reference & _LENGTH


@inlined
def byte_of(texts: Texts, reference: int, k: int) -> int:
    """The k-th of the bytes that a reference refers to."""
    at = ((reference & ~ARRIVED) >> REFERENCE_BITS) + k
    return texts.arrived[at] if reference & ARRIVED else texts.stored[at]


@inlined
def _bytes_before(texts: Texts, a: int, b: int) -> bool:
    for k in range(min(length_of(a), length_of(b))):
        if byte_of(texts, a, k) != byte_of(texts, b, k):
            return byte_of(texts, a, k) < byte_of(texts, b, k)
    return length_of(a) < length_of(b)
