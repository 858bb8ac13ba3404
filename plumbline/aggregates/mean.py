"""mean: the sum over the count. Intermediate: n, then sum's. Nothing has no mean.

Of integers it is float64(sum) / float64(n) with the mathematical sum, also where that leaves int64.
"""

import math

from plumbline.aggregates.entry import FLOAT, INTEGER, NULL, VALUE, Entry, Floats, Words
from plumbline.aggregates.sum import LOW_MASK, add_float, add_integer
from plumbline.compiled import inlined


@inlined
def update_integer(w: Words, f: Floats, i: int, x: int, y: float) -> None:
    """Count x and add it exactly."""
    w[i] += 1
    add_integer(w, i + 1, x >> 32, x & LOW_MASK)


@inlined
def merge_integer(w: Words, f: Floats, i: int, from_w: Words, from_f: Floats, j: int) -> None:
    """Add counts and exact sums."""
    w[i] += from_w[j]
    add_integer(w, i + 1, from_w[j + 1], from_w[j + 2])


@inlined
def finalize_integer(w: Words, f: Floats, i: int, out_w: Words, out_f: Floats, o: int) -> int:
    """float64(sum) / float64(n), rounded as if the sum were exact; null of nothing."""
    if w[i] == 0:
        return NULL
    high, low = w[i + 1], w[i + 2]
    fits = -(1 << 31) <= high < (1 << 31)  # else both parts are exact as floats, so one rounding
    total = float((high << 32) + low) if fits else float(high) * 4294967296.0 + float(low)
    out_f[o] = total / float(w[i])
    return VALUE


@inlined
def update_float(w: Words, f: Floats, i: int, x: int, y: float) -> None:
    """Count y and add it with compensation."""
    w[i] += 1
    add_float(f, i + 1, y)


@inlined
def merge_float(w: Words, f: Floats, i: int, from_w: Words, from_f: Floats, j: int) -> None:
    """Add counts and compensated sums."""
    w[i] += from_w[j]
    add_float(f, i + 1, from_f[j + 1])
    add_float(f, i + 1, from_f[j + 2])


@inlined
def finalize_float(w: Words, f: Floats, i: int, out_w: Words, out_f: Floats, o: int) -> int:
    """The compensated sum over the count; null of nothing, and where it is no number."""
    if w[i] == 0:
        return NULL
    out_f[o] = (f[i + 1] + f[i + 2]) / float(w[i])
    return NULL if math.isnan(out_f[o]) else VALUE


ENTRIES = (
    Entry("mean", INTEGER, FLOAT, 3, update_integer, merge_integer, finalize_integer),
    Entry("mean", FLOAT, FLOAT, 3, update_float, merge_float, finalize_float),
)
