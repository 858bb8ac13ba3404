"""Each function of a window as passes over a timeline: the plain pass, the late events added, the result read off."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from plumbline.aggregates import ENTRIES, entry_code
from plumbline.aggregates.entry import OVERFLOW, VALUE
from plumbline.compiled import kernel
from plumbline.late_kernels import (
    Late,
    add_late_counts,
    add_late_wide,
    distinct_counts,
    raise_to_late_max,
)
from plumbline.window_aggregates import finish, merge_late, slide
from plumbline.window_inputs import Column
from plumbline.window_kernels import (
    differences,
    first_valid,
    last_valid,
    sliding_max,
    wide_differences,
)


@dataclass(frozen=True)
class Window:
    """The runs [begins[i], ends[i]) of m rows of a timeline, and its late events.

    timely  (n,) False for the late events
    counts  how many values of a column each run holds, by column, once it was asked for
    """

    begins: np.ndarray
    ends: np.ndarray
    timely: np.ndarray
    late: Late
    counts: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """m values in the timeline's order of rows; `valid` None means none is null.

    values    (m,) numbers; with `places` where in the timeline the value stands, -1 for null
    nothing   the value of an empty history, None for null; with `valid` None it is 0
    overflow  the first integer sum that left int64: its row and, where it is known, its mathematical value
    """

    values: np.ndarray
    valid: np.ndarray | None = None
    places: bool = False
    nothing: float | None = None
    overflow: tuple[int, int | None] | None = None


def count(column: Column, window: Window) -> Result:
    """How many values are not null."""
    return Result(_counts(column, window))


def count_distinct(column: Column, window: Window) -> Result:
    """How many different values there are."""
    codes, distinct = column.codes
    return Result(distinct_counts(codes, window.timely, window.late, window.begins, window.ends, distinct))


def total(column: Column, window: Window) -> Result:
    """The sum: exact for integers, compensated for floats; 0 of nothing."""
    if column.kind == "float":
        return registered("sum", column, window)
    if column.total_fits:
        return Result(_narrow_sums(column, window))
    high, low = _wide_sums(column, window)
    sums = low.view(np.int64)
    left = np.flatnonzero(high != sums >> 63)
    return Result(sums, overflow=(left[0], (int(high[left[0]]) << 64) + int(low[left[0]])) if len(left) else None)


def mean(column: Column, window: Window) -> Result:
    """The sum over the count; null of nothing."""
    if column.kind == "float":
        return registered("mean", column, window)
    counts = _counts(column, window)
    sums = _narrow_sums(column, window).astype(np.float64) if column.total_fits else _rounded(*_wide_sums(column, window))
    return Result(sums / np.maximum(counts, 1), counts > 0)


def registered(function: str, column: Column, window: Window) -> Result:
    """Any aggregate of plumbline.aggregates, by its own update, merge and finalize."""
    x, y, kind = column.words
    code = entry_code(function, kind)
    entry = ENTRIES[code]
    parts = slide(code, entry.width, x, y, column.seen, window.begins, window.ends)
    merge_late(code, entry.width, window.late, window.begins, x, y, column.valid, parts)
    values, found = finish(code, entry.width, parts)
    empty, is_there = finish(code, entry.width, np.zeros(entry.width, np.int64))
    if entry.is_float:
        values, empty = values.view(np.float64), empty.view(np.float64)
    left = np.flatnonzero(found == OVERFLOW)
    overflow = (int(left[0]), None) if len(left) else None
    return Result(values, found == VALUE, nothing=empty.item() if is_there[0] == VALUE else None, overflow=overflow)


def largest(column: Column, window: Window) -> Result:
    """The largest value; null of nothing."""
    return Result(_largest(column.numbers, column, window), _counts(column, window) > 0)


def smallest(column: Column, window: Window) -> Result:
    """The smallest value; null of nothing."""
    values = _largest(column.falling, column, window)
    return Result(-values if column.kind == "float" else ~values, _counts(column, window) > 0)


def first(column: Column, window: Window) -> Result:
    """Where the earliest value stands, by time, creation and id."""
    found = first_valid(column.seen, window.begins, window.ends)
    rising = np.where(found >= 0, ~found, np.iinfo(np.int64).min)
    places = ~np.arange(len(column.valid))
    raise_to_late_max(window.late, window.begins, column.valid, places, rising, np.iinfo(np.int64).min)
    return Result(np.where(rising > np.iinfo(np.int64).min, ~rising, -1), places=True)


def last(column: Column, window: Window) -> Result:
    """Where the latest value stands, by time, creation and id."""
    found = last_valid(column.seen, window.begins, window.ends)
    raise_to_late_max(window.late, window.begins, column.valid, np.arange(len(column.valid)), found, -1)
    return Result(found, places=True)


def result_of(function: str, column: Column, window: Window) -> Result:
    """A function of a column over a window: by a pass of its own where there is an exact shortcut, else as it is registered."""
    own = _PASSES.get(function)
    return own(column, window) if own else registered(function, column, window)


_PASSES: dict[str, Callable[[Column, Window], Result]] = {
    "count": count,
    "sum": total,
    "mean": mean,
    "min": smallest,
    "max": largest,
    "count_distinct": count_distinct,
    "first": first,
    "last": last,
}
"""Counts, sums of integers and extremes need nothing that rounds, so differences and queues give the registered result."""


def _counts(column: Column, window: Window) -> np.ndarray:
    if column.name not in window.counts:
        window.counts[column.name] = _counted(column, window)
    return window.counts[column.name]


def _counted(column: Column, window: Window) -> np.ndarray:
    counts = window.ends - window.begins if column.seen.all() else differences(column.seen_before, window.begins, window.ends)
    add_late_counts(window.late, window.begins, column.valid, counts)
    return counts


def _narrow_sums(column: Column, window: Window) -> np.ndarray:
    sums = differences(column.total_before, window.begins, window.ends)
    if len(window.late.places):
        add_late_wide(window.late, window.begins, column.valid, column.numbers, sums >> 63, sums.view(np.uint64))
    return sums


def _wide_sums(column: Column, window: Window) -> tuple[np.ndarray, np.ndarray]:
    highs, lows = wide_differences(*column.wide_total_before, window.begins, window.ends)
    add_late_wide(window.late, window.begins, column.valid, column.numbers, highs, lows)
    return highs, lows


def _largest(values: np.ndarray, column: Column, window: Window) -> np.ndarray:
    lowest = values.dtype.type(-np.inf if values.dtype.kind == "f" else np.iinfo(values.dtype).min)
    found = sliding_max(values, column.seen, window.begins, window.ends, lowest)
    raise_to_late_max(window.late, window.begins, column.valid, values, found, lowest)
    return found


@kernel
def _rounded(highs: np.ndarray, lows: np.ndarray) -> np.ndarray:
    """(m,) 128-bit integers as the nearest float64, ties to even."""
    rounded = np.empty(len(highs))
    for row in range(len(highs)):
        high, low = highs[row], lows[row]
        negative = high < 0
        if negative:
            low = ~low + np.uint64(1)
            high = ~high + np.int64(low == 0)
        top, shift = np.uint64(high), 0
        if top == 0:
            rounded[row] = np.float64(low)
        else:
            while top >> np.uint64(63) == 0:
                top = top << np.uint64(1) | low >> np.uint64(63)
                low = low << np.uint64(1)
                shift += 1
            sticky = np.uint64(low != 0)
            rounded[row] = np.float64(top | sticky) * 2.0 ** (64 - shift)
        if negative:
            rounded[row] = -rounded[row]
    return rounded
