"""Finds the parts of one state among many: header, records, raw rows, tiles, distinct values, heap.

begin                    rows          tiles         distinct       heap          end
  | header records counts | raw | raw | tile | tile | key seen ... | bytes  . . . |
"""

from typing import NamedTuple

import numpy as np

from plumbline.compiled import inlined
from plumbline.plan import Plan
from plumbline.state_words import (
    FIXED_WORDS,
    HEADER_WORDS,
    HEAP_BYTES,
    RAW_ROWS,
    RECORD_WORDS,
    REFERENCE_BITS,
    TILES,
    UNORDERED_WORDS,
    WITH_ORDER,
)


class States(NamedTuple):
    """States one after the other: state s is words[starts[s]:starts[s + 1]], nothing where there is none.

    floats and heap are the same memory as `words`, as float64 and as bytes.
    """

    words: np.ndarray
    floats: np.ndarray
    heap: np.ndarray
    starts: np.ndarray


class Parts(NamedTuple):
    """Where the parts of a state begin, in words of its States; `texts` is what makes its references absolute ones.

    fixed   fixed words of its raw rows, row_words all of them
    """

    begin: int
    fixed: int
    row_words: int
    rows: int
    row_count: int
    tiles: int
    tile_count: int
    distinct: int
    texts: int


@inlined
def parts_of(plan: Plan, states: States, s: int) -> Parts:
    """The parts of state s; of one that is not there, none."""
    begin, end = states.starts[s], states.starts[s + 1]
    if begin == end:
        return Parts(begin, 0, 0, begin, 0, begin, 0, begin, 0)
    words = states.words
    fixed = FIXED_WORDS if words[begin + WITH_ORDER] else UNORDERED_WORDS
    row_words = fixed + plan.value_words
    rows = begin + kept_words(plan)
    tiles = rows + words[begin + RAW_ROWS] * row_words
    distinct = tiles + words[begin + TILES] * plan.tile_words
    heap = (end - (words[begin + HEAP_BYTES] + 7) // 8) * 8
    return Parts(
        begin, fixed, row_words, rows, words[begin + RAW_ROWS], tiles, words[begin + TILES], distinct, heap << REFERENCE_BITS
    )


@inlined
def is_there(parts: Parts) -> bool:
    """Whether there is such a state: every row of one has words."""
    return parts.row_words > 0


@inlined
def kept_words(plan: Plan) -> int:
    """Words before the raw rows: the header, a record a column of last, a count a column of count_distinct."""
    return HEADER_WORDS + RECORD_WORDS * len(plan.lasts) + len(plan.distinct)


@inlined
def distinct_count(plan: Plan, begin: int, i: int) -> int:
    """The word that holds how many values are kept for the i-th column of count_distinct."""
    return begin + HEADER_WORDS + RECORD_WORDS * len(plan.lasts) + i


@inlined
def last_record(begin: int, i: int) -> int:
    """Where the record of the i-th column of last begins."""
    return begin + HEADER_WORDS + RECORD_WORDS * i


@inlined
def first_at_or_after(words: np.ndarray, base: int, count: int, width: int, at_us: int) -> int:
    """Index of the first of `count` rows or tiles of `width` words from `base` on whose first word is at or after `at_us`."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if words[base + middle * width] < at_us:
            low = middle + 1
        else:
            high = middle
    return low
