"""What the online state of a view has to keep, derived once from its windows, as the arrays that the kernels read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from plumbline.aggregates import ENTRIES, entry_code
from plumbline.durations import MICROSECOND
from plumbline.plan import (
    AGGREGATE,
    BYTES,
    COLUMN,
    DISTINCT,
    FIRST,
    FLOAT,
    INTEGER,
    LAST,
    NUMERIC,
    PRESENCE,
    TAIL,
    WINDOW,
    Plan,
)
from plumbline.state_words import RECORD_WORDS
from plumbline.view_spec import VALUELESS_FUNCTIONS, DeclarationError, ViewSpec, WindowSpec, column_kind

_KEPT = {"first": FIRST, "last": LAST, "count_distinct": DISTINCT}
"""How the functions that are no aggregates of numbers are evaluated."""

MAX_COLUMNS = 62
"""Aggregated columns a view may have: a raw row keeps one bit each in one word."""


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

    @cached_property
    def type_name(self) -> str:
        """The data type in words, which are compared sooner than it."""
        return str(self.data_type)


@dataclass(frozen=True)
class Answer:
    """How the word of a window's value is read: as a reference to bytes of an Arrow type, as a float, or as an integer.

    declared  the type it is answered in
    """

    text_type: pa.DataType | None
    is_float: bool
    declared: pa.DataType

    @cached_property
    def is_as_read(self) -> bool:
        """Whether the number is the answer: no bytes, no integer in fewer bits, no integer as a float."""
        return self.text_type is None and (self.is_float or self.declared == pa.int64())


class Layout:
    """What the states of a view keep: its columns, and their plan for the kernels.

    column_list  the raw columns, in order of first use; a raw row has one bit each
    plan         the same in numbers, with windows, tiles and what is kept
    """

    def __init__(self, spec: ViewSpec) -> None:
        self.spec = spec
        self.column_list = _columns(spec)
        if len(self.column_list) > MAX_COLUMNS:
            raise DeclarationError(
                f"View '{spec.name}' aggregates {len(self.column_list)} columns; at most {MAX_COLUMNS} are allowed."
            )
        self.plan = _plan(spec, self.column_list)

    @property
    def value_words(self) -> int:
        """Words of a row after the fixed ones."""
        return self.plan.value_words

    @cached_property
    def answers(self) -> tuple[Answer, ...]:
        """How the words of each window's value are read, in the order of the view's windows."""
        return tuple(
            _answer(self.column_list[read["column"]], read, window.output_type)
            for read, window in zip(self.plan.windows, self.spec.windows, strict=True)
        )

    @cached_property
    def ordered(self) -> bool:
        """Whether raw rows keep created timestamps and ids, because first or last need their order."""
        return any(window.function in ("first", "last") for window in self.spec.windows)


def _plan(spec: ViewSpec, columns: Sequence[Column]) -> Plan:
    index = {column.name: i for i, column in enumerate(columns)}
    tiled = [window for window in spec.windows if window.slide_us > MICROSECOND]
    aggregates = _aggregates(tiled, columns, index)
    firsts = _columns_of("first", tiled, index)
    lasts = _columns_of("last", spec.windows, index)
    distinct = _columns_of("count_distinct", spec.windows, index)
    first_word = 1 + sum(ENTRIES[code].width for code, _, _ in aggregates)
    places = {
        **{(NUMERIC, code, column): word for code, column, word in aggregates},
        **{(FIRST, 0, column): first_word + RECORD_WORDS * i for i, column in enumerate(firsts)},
        **{(LAST, 0, column): i for i, column in enumerate(lasts)},
        **{(DISTINCT, 0, column): i for i, column in enumerate(distinct)},
    }
    read = [_evaluation(window, columns, index) for window in spec.windows]
    with_tails = [w for w in tiled if _needs_tail(w)]
    return Plan(
        columns=np.array([(c.storage, c.value_word, c.key_word) for c in columns], COLUMN),
        windows=np.array(
            [(*how, w.window_us, w.slide_us, places.get(how, -1)) for how, w in zip(read, spec.windows, strict=True)], WINDOW
        ),
        aggregates=np.array(aggregates, AGGREGATE),
        firsts=np.array(firsts, np.int64),
        lasts=np.array(lasts, np.int64),
        distinct=np.array(distinct, np.int64),
        texts=np.array([c.value_word for c in columns if c.storage == BYTES and c.value_word >= 0], np.int64),
        tails=np.array(sorted({(w.window_us, w.slide_us) for w in with_tails}), TAIL),
        all_tails=np.array(sorted({(w.window_us, w.slide_us) for w in spec.windows}), TAIL),
        longest_exact_us=max((w.window_us for w in spec.windows if w.slide_us == MICROSECOND and _needs_tail(w)), default=0),
        value_words=sum(word >= 0 for c in columns for word in (c.value_word, c.key_word)),
        tile_words=first_word + RECORD_WORDS * len(firsts),
        first_word=first_word,
    )


def _aggregates(tiled: Sequence[WindowSpec], columns: Sequence[Column], index: Mapping[str, int]) -> list[tuple[int, int, int]]:
    """Code, column and first word in a tile of each aggregate that tiles keep; word 0 of a tile is its start."""
    how = (_evaluation(window, columns, index) for window in tiled)
    kept = dict.fromkeys((code, column) for evaluation, code, column in how if evaluation == NUMERIC)
    starts = np.cumsum([1, *(ENTRIES[code].width for code, _ in kept)]).tolist()
    return [(code, column, start) for (code, column), start in zip(kept, starts, strict=False)]


def _evaluation(window: WindowSpec, columns: Sequence[Column], index: Mapping[str, int]) -> tuple[int, int, int]:
    """How a window is evaluated, the code of its aggregate (0 where it has none) and its column."""
    column = index[window.column]
    if window.function in _KEPT:
        return _KEPT[window.function], 0, column
    return NUMERIC, entry_code(window.function, columns[column].kind), column


def _answer(column: Column, window: np.void, declared: pa.DataType) -> Answer:
    if window["evaluation"] in (FIRST, LAST):
        return Answer(column.data_type if column.storage == BYTES else None, column.storage == FLOAT, declared)
    return Answer(None, bool(window["evaluation"] == NUMERIC and ENTRIES[window["code"]].is_float), declared)


def _columns_of(function: str, windows: Iterable[WindowSpec], index: Mapping[str, int]) -> list[int]:
    return list(dict.fromkeys(index[window.column] for window in windows if window.function == function))


def _columns(spec: ViewSpec) -> tuple[Column, ...]:
    columns, word = [], 0
    for name in spec.columns:
        windows = [window for window in spec.windows if window.column == name]
        functions = {window.function for window in windows}
        kind = column_kind(windows[0].input_type)
        if functions <= set(VALUELESS_FUNCTIONS):
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
