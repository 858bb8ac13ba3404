"""What the online state of a view has to keep, derived once from its windows, as the arrays that the kernels read."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from plumbline.aggregates import ENTRIES, entry_code, numeric_functions
from plumbline.durations import MICROSECOND, MINUTE
from plumbline.spec import DeclarationError, ViewSpec, WindowSpec, column_kind

HEAD_US = 10 * MINUTE
"""How far before its newest arrival a state can still be read exactly; design section 7 asks for at least 5 minutes."""

PRESENCE, INTEGER, FLOAT, BYTES = 0, 1, 2, 3
"""How a column stands in a raw row: only whether it is null, as a number, or as bytes."""

MAX_COLUMNS = 62
"""Aggregated columns a view may have: a raw row keeps one bit each in one word."""

NUMERIC, DISTINCT, FIRST, LAST = 0, 1, 2, 3
"""How a window is evaluated."""

RECORD_WORDS = 5
"""A kept record of first or last: there or not, event time, created time, reference to the id, value."""


@dataclass(frozen=True)
class Column:
    """One raw column. value_word and key_word are its words in a raw row after the fixed ones, -1 where it has none.

    The value is the number, or for BYTES a reference into the state's heap; the key (BYTES with count_distinct) is a hash.
    """

    name: str
    storage: int
    data_type: pa.DataType
    value_word: int
    key_word: int

    @property
    def kind(self) -> str:
        """The kind that aggregates are told: presence counts like integers."""
        return "float" if self.storage == FLOAT else "integer"


class Layout:
    """Columns, tiles and boundaries of a view's states. All instants are microseconds since the epoch, UTC.

    columns    int64 (C, 3): storage, value word, key word
    tiled      int64 (A, 3): aggregate code, column, first word in a tile's intermediates
    firsts, lasts, distinct   int64 (n,): columns kept for first (in tiles), last and count_distinct
    tails      int64 (W, 2): window and slide of the windows whose tails cut tiles
    windows    int64 (n, 7): evaluation, aggregate code, column, window, slide, first word in tiles or index of what is kept,
               column storage
    """

    def __init__(self, spec: ViewSpec) -> None:
        self.spec = spec
        self.column_list = _columns(spec)
        if len(self.column_list) > MAX_COLUMNS:
            raise DeclarationError(
                f"View '{spec.name}' aggregates {len(self.column_list)} columns; at most {MAX_COLUMNS} are allowed."
            )
        index = {column.name: i for i, column in enumerate(self.column_list)}
        tiled = [window for window in spec.windows if window.slide_us > MICROSECOND]
        self.columns = _matrix([(c.storage, c.value_word, c.key_word) for c in self.column_list], 3)
        codes = dict.fromkeys(
            (entry_code(w.function, self.column_list[index[w.column]].kind), index[w.column])
            for w in tiled if w.function in numeric_functions()
        )  # fmt: skip
        starts = np.cumsum([1, *(ENTRIES[code].width for code, _ in codes)]).tolist()
        self.tiled = _matrix([(code, column, start) for (code, column), start in zip(codes, starts, strict=False)], 3)
        self.firsts = _used(tiled, "first", index)
        self.lasts = _used(spec.windows, "last", index)
        self.distinct = _used(spec.windows, "count_distinct", index)
        self.first_word = starts[-1]
        self.tile_words = starts[-1] + RECORD_WORDS * len(self.firsts)
        self.value_words = sum(word >= 0 for c in self.column_list for word in (c.value_word, c.key_word))
        self.tails = self._tails()
        self.windows = _matrix([self._window(window, index) for window in spec.windows], 7)

    @cached_property
    def ordered(self) -> bool:
        """Whether raw rows keep created timestamps and ids, because first or last need their order."""
        return any(window.function in ("first", "last") for window in self.spec.windows)

    @cached_property
    def longest_exact_us(self) -> int:
        """Longest window whose tail needs raw rows: last and count_distinct are exact without them."""
        return max((w.window_us for w in self.spec.windows if w.slide_us == MICROSECOND and _needs_tail(w)), default=0)

    def oldest_kept(self, reach_us: int) -> int:
        """Nothing before this instant can be in any window that ends at or after `reach_us`."""
        return min((reach_us - w.window_us) // w.slide_us * w.slide_us for w in self.spec.windows)

    @cached_property
    def all_tails(self) -> np.ndarray:
        """int64 (n, 2): window and slide of every window, for pruning what is kept."""
        return _matrix(sorted({(w.window_us, w.slide_us) for w in self.spec.windows}), 2)

    def _tails(self) -> np.ndarray:
        windows = {(w.window_us, w.slide_us) for w in self.spec.windows if w.slide_us > MICROSECOND and _needs_tail(w)}
        return _matrix(sorted(windows), 2)

    def _window(self, window: WindowSpec, index: dict[str, int]) -> tuple[int, ...]:
        column = index[window.column]
        declared = self.column_list[column]
        fixed = (window.window_us, window.slide_us)
        if window.function == "count_distinct":
            return (DISTINCT, 0, column, *fixed, self.distinct.tolist().index(column), declared.storage)
        if window.function == "last":
            return (LAST, 0, column, *fixed, self.lasts.tolist().index(column), declared.storage)
        if window.function == "first":
            place = self.first_word + RECORD_WORDS * self.firsts.tolist().index(column) if column in self.firsts else -1
            return (FIRST, 0, column, *fixed, place, declared.storage)
        code = entry_code(window.function, declared.kind)
        words = [start for c, at, start in self.tiled.tolist() if (c, at) == (code, column)]
        return (NUMERIC, code, column, *fixed, words[0] if words else -1, declared.storage)


def _columns(spec: ViewSpec) -> tuple[Column, ...]:
    columns, word = [], 0
    for name in spec.columns:
        windows = [window for window in spec.windows if window.column == name]
        functions = {window.function for window in windows}
        kind = column_kind(windows[0].input_type)
        if functions == {"count"}:
            columns.append(Column(name, PRESENCE, windows[0].input_type, -1, -1))
            continue
        storage = {"integer": INTEGER, "float": FLOAT, "other": BYTES}[kind]
        has_value = storage != BYTES or bool(functions & {"first", "last"})
        has_key = storage == BYTES and "count_distinct" in functions
        value_word, word = (word, word + 1) if has_value else (-1, word)
        key_word, word = (word, word + 1) if has_key else (-1, word)
        columns.append(Column(name, storage, windows[0].input_type, value_word, key_word))
    return tuple(columns)


def _needs_tail(window: WindowSpec) -> bool:
    return window.function not in ("last", "count_distinct")


def _used(windows: tuple[WindowSpec, ...] | list[WindowSpec], function: str, index: dict[str, int]) -> np.ndarray:
    used = dict.fromkeys(index[window.column] for window in windows if window.function == function)
    return np.array(list(used), dtype=np.int64)


def _matrix(rows: list[tuple[int, ...]], width: int) -> np.ndarray:
    return np.array(rows, dtype=np.int64).reshape(len(rows), width)
