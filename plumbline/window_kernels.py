"""Exact shortcuts over runs of neighbouring events, compiled: one pass a window.

Events lie in one array sorted by (entity, time); row i's window is the run [begins[i], ends[i]). Both never fall from
one row to the next, not even where the entity changes, so a pass needs no knowledge of entities. Counts and sums of integers
are differences of sums before each place, the largest value is the head of a queue of falling candidates, amortised O(1) an
event. What rounds is in plumbline.window_aggregates.
"""

import numpy as np

from plumbline.compiled import kernel


@kernel
def sliding_max(values: np.ndarray, valid: np.ndarray, begins: np.ndarray, ends: np.ndarray, lowest: float) -> np.ndarray:
    """(m,) largest values, of any numeric type; `lowest` where there is none."""
    largest = np.full(len(begins), lowest, values.dtype)
    place, candidate = np.empty(len(values), np.int64), np.empty(len(values), values.dtype)
    head = tail = filled = 0
    for row in range(len(begins)):
        begin, end = begins[row], ends[row]
        if begin >= filled:
            head = tail = 0
            filled = begin
        for i in range(filled, end):
            if valid[i]:
                value = values[i]
                while tail > head and candidate[tail - 1] <= value:
                    tail -= 1
                place[tail], candidate[tail] = i, value
                tail += 1
        filled = end
        while head < tail and place[head] < begin:
            head += 1
        if head < tail:
            largest[row] = candidate[head]
    return largest


@kernel
def prefix_sums(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(n + 1,) sums of the valid integers before each place."""
    sums = np.empty(len(values) + 1, np.int64)
    sums[0] = 0
    for i in range(len(values)):
        sums[i + 1] = sums[i] + (np.int64(values[i]) if valid[i] else 0)
    return sums


@kernel
def differences(before: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(m,) sums over [begin, end) from sums before each place."""
    sums = np.empty(len(begins), np.int64)
    for row in range(len(begins)):
        sums[row] = before[ends[row]] - before[begins[row]]
    return sums


@kernel
def wide_prefix_sums(values: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n + 1,) prefix sums of integers, as high and low words of 128 bits (two's complement): nothing overflows."""
    high, low = np.zeros(len(values) + 1, np.int64), np.zeros(len(values) + 1, np.uint64)
    for i in range(len(values)):
        high[i + 1], low[i + 1] = high[i], low[i]
        if valid[i]:
            low[i + 1] = low[i] + np.uint64(values[i])
            high[i + 1] += np.int64(low[i + 1] < low[i]) - np.int64(values[i] < 0)
    return high, low


@kernel
def wide_differences(high: np.ndarray, low: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(m,) sums over [begin, end) from 128-bit prefix sums, as high and low words."""
    highs, lows = np.empty(len(begins), np.int64), np.empty(len(begins), np.uint64)
    for row in range(len(begins)):
        begin, end = begins[row], ends[row]
        lows[row] = low[end] - low[begin]
        highs[row] = high[end] - high[begin] - np.int64(low[end] < low[begin])
    return highs, lows


@kernel
def first_valid(valid: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(m,) position of the first valid event in each window, -1 where there is none."""
    following = np.empty(len(valid) + 1, np.int64)
    following[len(valid)] = len(valid)
    for i in range(len(valid) - 1, -1, -1):
        following[i] = i if valid[i] else following[i + 1]
    found = np.empty(len(begins), np.int64)
    for row in range(len(begins)):
        found[row] = following[begins[row]] if following[begins[row]] < ends[row] else -1
    return found


@kernel
def last_valid(valid: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(m,) position of the last valid event in each window, -1 where there is none."""
    preceding = np.empty(len(valid) + 1, np.int64)
    preceding[0] = -1
    for i in range(len(valid)):
        preceding[i + 1] = i if valid[i] else preceding[i]
    found = np.empty(len(begins), np.int64)
    for row in range(len(begins)):
        found[row] = preceding[ends[row]] if preceding[ends[row]] >= begins[row] else -1
    return found
