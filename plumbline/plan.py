"""What the kernels are told of a view: where its columns, tiles and kept records stand in a state, as arrays.

A plan holds numbers only, so that one compiled kernel serves every view. `plumbline.layout` makes it from a declaration.
"""

from typing import NamedTuple

import numpy as np

PRESENCE, INTEGER, FLOAT, BYTES = 0, 1, 2, 3
"""How a column stands in a raw row: only whether it is null, as a number, or as bytes."""

NUMERIC, DISTINCT, FIRST, LAST = 0, 1, 2, 3
"""How a window is evaluated."""

COLUMN = np.dtype([(name, np.int64) for name in ("storage", "value_word", "key_word")])
"""A raw column; its words in a row after the fixed ones, -1 where it has none. A key is the hash of bytes."""

AGGREGATE = np.dtype([(name, np.int64) for name in ("code", "column", "word")])
"""An aggregate that tiles keep: its code in plumbline.aggregates, its column, and its first word in a tile."""

TAIL = np.dtype([(name, np.int64) for name in ("window_us", "slide_us")])
"""A window by its length and the resolution of its tail, microseconds."""

WINDOW = np.dtype([(name, np.int64) for name in ("evaluation", "code", "column", "window_us", "slide_us", "place")])
"""A window: `code` is of its aggregate; `place` is its first word in a tile (numbers, first) or which of the columns kept
for last or count_distinct it reads; -1 where nothing but raw rows is kept for it."""


class Plan(NamedTuple):
    """A view's states in numbers.

    columns     (C,) COLUMN
    windows     (W,) WINDOW, in declared order
    aggregates  (A,) AGGREGATE, kept in tiles
    firsts, lasts, distinct   (n,) columns with a record in each tile, with a record a state, with values kept a state
    texts       (n,) value words that are references to bytes
    tails       (T,) TAIL of the windows whose tails cut tiles
    all_tails   (n,) TAIL of every window, for pruning what is kept
    longest_exact_us   the longest window whose tail needs raw rows
    value_words        words of a row after the fixed ones
    tile_words         words of a tile
    first_word         where a tile's records for first begin
    """

    columns: np.ndarray
    windows: np.ndarray
    aggregates: np.ndarray
    firsts: np.ndarray
    lasts: np.ndarray
    distinct: np.ndarray
    texts: np.ndarray
    tails: np.ndarray
    all_tails: np.ndarray
    longest_exact_us: int
    value_words: int
    tile_words: int
    first_word: int
