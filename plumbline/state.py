"""Online states as bytes: new events in, new bytes out; and the values of all windows at an instant."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
import pyarrow as pa

from plumbline.aggregates.entry import OVERFLOW, VALUE
from plumbline.fold_kernel import Rules, fold_states
from plumbline.fold_rows import Arrived
from plumbline.layout import Layout
from plumbline.plan import BYTES
from plumbline.read_kernel import read_states
from plumbline.rows import Rows
from plumbline.state_parts import States, kept_words
from plumbline.state_seals import NO_STATE, UNREADABLE, joined
from plumbline.state_words import (
    EVENT,
    FIXED_WORDS,
    HEAP_BYTES,
    MAX_TEXT_BYTES,
    NEVER,
    RAW_ROWS,
    REFERENCE_BITS,
    UNORDERED_WORDS,
    VALID,
    WITH_ORDER,
    unreadable,
)
from plumbline.value_codec import from_bytes


class IntegerOverflow(ArithmeticError):
    """An integer sum left int64, or an integer the narrower type that it was declared as."""


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
    reach_us  earliest instant to stay answerable; left out: fold_times.HEAD_US before the newest arrival
    keep_us   pushed rows: keep all rows raw, with their ids, for this long and the longest window
    """
    states, fences_before = joined(stored)
    _refuse_unreadable(fences_before, layout)
    reach = {"generation": generation, "reach_us": reach_us, "keep_us": keep_us}
    return folded_states(layout, states, rows, groups, np.array(fences, dtype=np.int64), **reach)


def folded_states(
    layout: Layout,
    states: States,
    rows: Rows,
    groups: np.ndarray,
    fences: np.ndarray,
    *,
    generation: int = -1,
    reach_us: int = NEVER,
    keep_us: int = -1,
) -> list[bytes]:
    """fold, of states that were found readable."""
    groups = np.asarray(groups, dtype=np.int64)
    in_time = rows.take(np.lexsort((rows.at, np.repeat(np.arange(len(groups) - 1), np.diff(groups)))))
    rules = Rules(generation, reach_us, keep_us, with_order=int(layout.ordered or keep_us >= 0))
    words, starts = fold_states(layout.plan, states, Arrived(in_time.words, in_time.heap), groups, fences, rules)
    data, bounds = words.tobytes(), (8 * starts).tolist()
    return [data[begin:end] for begin, end in pairwise(bounds)]


def window_values(layout: Layout, entities: Sequence[Sequence[bytes]], at_us: int) -> list[list[object]]:
    """For each entity, one Python value a window in the order of the view's windows; None is null.

    entities  the bytes of each entity's states, one a slot; each must reach back to `at_us`
    An integer that leaves its type is the IntegerOverflow itself, for the caller to count and to answer with null.
    Raises StateUnreadable for a damaged state.
    """
    return values_of_views([(layout, entities)], at_us)[0]


def values_of_views(views: Sequence[tuple[Layout, Sequence[Sequence[bytes]]]], at_us: int) -> list[list[list[object]]]:
    """window_values of several views, whose states are looked at together."""
    states, fences = joined([data for _, entities in views for of_entity in entities for data in of_entity])
    readable = fences.max(initial=NO_STATE) < UNREADABLE
    found, first = [], 0
    for layout, entities in views:
        bounds = list(accumulate(map(len, entities), initial=first))
        if not readable:
            _refuse_unreadable(fences[first : bounds[-1]], layout)
        found.append(_values(layout, states, np.array(bounds, np.int64), at_us))
        first = bounds[-1]
    return found


def _values(layout: Layout, states: States, bounds: np.ndarray, at_us: int) -> list[list[object]]:
    """Of entities whose states are bounds[e] to bounds[e + 1]."""
    values, found = read_states(layout.plan, states, bounds, at_us)
    integers, floats = values.tolist(), values.view(np.float64).tolist()
    return [
        [
            (of_floats[w] if answer.is_float else of_integers[w])
            if what[w] == VALUE and answer.is_as_read
            else _value(layout, w, of_integers[w], what[w], states.heap)
            for w, answer in enumerate(layout.answers)
        ]
        for of_integers, of_floats, what in zip(integers, floats, found.tolist(), strict=True)
    ]


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
    return Rows(*raw_part(layout, words, data))


def raw_part(layout: Layout, words: np.ndarray, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The raw rows of a checked state as a view of its words, int64 (rows, fixed + value words), and its heap.

    The fixed words are FIXED_WORDS where the state keeps order, else UNORDERED_WORDS.
    """
    width = (FIXED_WORDS if words[WITH_ORDER] else UNORDERED_WORDS) + layout.value_words
    start, padded = int(kept_words(layout.plan)), (int(words[HEAP_BYTES]) + 7) // 8 * 8
    rows = words[start : start + int(words[RAW_ROWS]) * width].reshape(-1, width)
    return rows, np.frombuffer(data, dtype=np.uint8)[len(data) - padded :]


def _value(layout: Layout, w: int, value: int, found: int, heap: np.ndarray) -> object:
    """The value of one window as Python has it, where it is not a number as it was read."""
    if found not in (VALUE, OVERFLOW):
        return None
    answer = layout.answers[w]
    if found == VALUE and answer.text_type is not None:
        return from_bytes(_text(heap, value), answer.text_type)
    if found == VALUE and pa.types.is_floating(answer.declared):
        return float(value)
    bits = answer.declared.bit_width
    if found == VALUE and -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
        return value
    return IntegerOverflow(f"'{layout.spec.windows[w].name}' of view '{layout.spec.name}' leaves {answer.declared}")


def _text(heap: np.ndarray, reference: int) -> bytes:
    start = reference >> REFERENCE_BITS
    return heap[start : start + (reference & MAX_TEXT_BYTES)].tobytes()


def _refuse_unreadable(fences: np.ndarray, layout: Layout) -> None:
    if fences.max(initial=NO_STATE) == UNREADABLE:
        raise unreadable(layout.spec.name)
