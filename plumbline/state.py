"""Online states as bytes: new events in, new bytes out; and the values of all windows at an instant."""

from collections.abc import Sequence

import numpy as np

from plumbline.aggregates import ENTRIES
from plumbline.aggregates.entry import OVERFLOW, VALUE
from plumbline.fold_kernel import capacity, fold_states
from plumbline.layout import BYTES, FIRST, FLOAT, LAST, NUMERIC, RECORD_WORDS, Layout
from plumbline.read_kernel import read_states
from plumbline.rows import EVENT, FIXED_WORDS, VALID, Rows
from plumbline.state_words import (
    HEADER_WORDS,
    HEAP_BYTES,
    NEVER,
    RAW_ROWS,
    REFERENCE_BITS,
    check,
    header_word,
    seal,
)
from plumbline.value_codec import from_bytes

_LENGTH = (1 << REFERENCE_BITS) - 1


class IntegerOverflow(ArithmeticError):
    """An integer sum left int64."""


def fold(
    layout: Layout,
    stored: Sequence[bytes | None],
    rows: Rows,
    groups: np.ndarray,
    fences: Sequence[int],
    *,
    generation: int = -1,
    reach_us: int = NEVER,
    keep_us: int = -1,
) -> list[bytes]:
    """The bytes of each state after its rows as well: a function of the set of events, not of their batches.

    stored    bytes of each state, None where there is none; raises StateUnreadable for a damaged one
    rows      rows[groups[i]:groups[i + 1]] belong to state i, in the order they came in; groups is int64 (states + 1,)
    fences    offset of each state's last row (or generation, or revision)
    reach_us  earliest instant to stay answerable; left out: layout.HEAD_US before the newest arrival
    keep_us   pushed rows: keep all rows raw, with their ids, for this long and the longest window
    """
    old, old_start = _joined(stored, layout.spec.name)
    in_time = rows.take(np.lexsort((rows.at, np.repeat(np.arange(len(groups) - 1), np.diff(groups)))))
    with_order = int(layout.ordered or keep_us >= 0)
    row_words = (4 if with_order else 2) + layout.value_words
    groups = np.asarray(groups, dtype=np.int64)
    records = len(layout.firsts) + len(layout.lasts)
    total, heap = capacity(
        layout.columns, in_time.words, old_start, groups, row_words, layout.tile_words, len(layout.distinct), records
    )
    out, out_start = np.empty(total, dtype=np.int64), np.empty(len(groups), dtype=np.int64)
    fold_states(
        layout.columns, layout.tiled, layout.firsts, layout.lasts, layout.distinct, layout.tails, layout.all_tails,
        layout.longest_exact_us, layout.value_words, layout.tile_words, layout.first_word,
        old, old.view(np.float64), old.view(np.uint8), old_start, in_time.words, in_time.words.view(np.float64), in_time.heap,
        groups,
        np.array(fences, dtype=np.int64), np.full(len(fences), generation, dtype=np.int64), np.full(len(fences), reach_us,
        dtype=np.int64),
        with_order, keep_us, out, out.view(np.float64), out.view(np.uint8), out_start, np.empty(heap + 8, dtype=np.uint8),
    )  # fmt: skip
    data = out[: out_start[-1]].tobytes()
    return [seal(data[8 * start : 8 * end]) for start, end in zip(out_start[:-1].tolist(), out_start[1:].tolist(), strict=True)]


def window_values(layout: Layout, entities: Sequence[Sequence[bytes]], at_us: int) -> list[list[object]]:
    """For each entity, one Python value a window in the order of the view's windows; None is null.

    entities  the bytes of each entity's states, one a slot; each must reach back to `at_us`
    An integer sum that leaves int64 is the IntegerOverflow itself, for the caller to count and to answer with null.
    Raises StateUnreadable for a damaged state.
    """
    flat = [data for states in entities for data in states]
    words, slots = _joined(flat, layout.spec.name)
    bounds = np.cumsum([0, *map(len, entities)], dtype=np.int64)
    shape = (len(entities), len(layout.windows))
    out, status, place = np.zeros(shape, np.int64), np.zeros(shape, np.uint8), np.zeros(shape, np.int64)
    read_states(
        layout.columns, layout.windows, layout.lasts, layout.distinct, layout.value_words, layout.tile_words,
        words, words.view(np.float64), words.view(np.uint8), slots, bounds, at_us, out, out.view(np.float64), status, place,
    )  # fmt: skip
    columns = [_column(layout, w, out, status, place, flat) for w in range(shape[1])]
    return [list(values) for values in zip(*columns, strict=True)] if columns else [[] for _ in entities]


def row_identities(layout: Layout, rows: Rows) -> list[object]:
    """What makes two rows the same event: the id, or where there is none, the time and every value."""
    texts = [column.value_word for column in layout.column_list if column.storage == BYTES and column.value_word >= 0]
    identities: list[object] = []
    for event_id, row in zip(rows.ids(), rows.words.tolist(), strict=True):
        values: list[object] = row[FIXED_WORDS:]
        for word in texts:
            values[word] = rows.text(row[FIXED_WORDS + word])
        identities.append(event_id or (row[EVENT], row[VALID], *values))
    return identities


def raw_rows_at(layout: Layout, words: np.ndarray, data: bytes) -> Rows:
    """The raw rows of a checked state that keeps ids, as a view of its words."""
    width = FIXED_WORDS + layout.value_words
    start = HEADER_WORDS + RECORD_WORDS * len(layout.lasts) + len(layout.distinct)
    rows = words[start : start + int(words[RAW_ROWS]) * width].reshape(-1, width)
    padded = (int(words[HEAP_BYTES]) + 7) // 8 * 8
    return Rows(rows, np.frombuffer(data, dtype=np.uint8)[len(data) - padded :])


def _column(
    layout: Layout, w: int, out: np.ndarray, status: np.ndarray, place: np.ndarray, flat: Sequence[bytes]
) -> list[object]:
    window = layout.spec.windows[w]
    evaluation, column = int(layout.windows[w, 0]), layout.column_list[int(layout.windows[w, 2])]
    if evaluation in (FIRST, LAST) and column.storage == BYTES:
        values: list[object] = [
            from_bytes(_heap_text(flat[slot], reference), column.data_type) if found else None
            for reference, slot, found in zip(out[:, w].tolist(), place[:, w].tolist(), status[:, w].tolist(), strict=True)
        ]
        return values
    is_float = column.storage == FLOAT if evaluation in (FIRST, LAST) else _result_is_float(layout, w)
    raw = out[:, w].copy().view(np.float64).tolist() if is_float else out[:, w].tolist()
    return [
        value if found == VALUE else (_overflow(layout, window.name) if found == OVERFLOW else None)
        for value, found in zip(raw, status[:, w].tolist(), strict=True)
    ]


def _result_is_float(layout: Layout, w: int) -> bool:
    evaluation, code, column = (int(layout.windows[w, i]) for i in (0, 1, 2))
    if evaluation != NUMERIC:
        return False
    result = ENTRIES[code].result
    return result == "float" or (result == "column" and layout.column_list[column].storage == FLOAT)


def _overflow(layout: Layout, name: str) -> IntegerOverflow:
    return IntegerOverflow(f"'{name}' of view '{layout.spec.name}' leaves int64")


def _heap_text(data: bytes, reference: int) -> bytes:
    padded = (header_word(data, HEAP_BYTES) + 7) // 8 * 8
    start = len(data) - padded + (reference >> REFERENCE_BITS)
    return data[start : start + (reference & _LENGTH)]


def _joined(stored: Sequence[bytes | None], view: str) -> tuple[np.ndarray, np.ndarray]:
    """All states as one array of words, and where each begins (and the last ends)."""
    for data in stored:
        if data is not None:
            check(data, view)
    start = np.zeros(len(stored) + 1, dtype=np.int64)
    np.cumsum([0 if data is None else len(data) // 8 for data in stored], out=start[1:])
    words = np.frombuffer(b"".join(data for data in stored if data is not None) or b"\0" * 8, dtype=np.int64)
    return words, start
