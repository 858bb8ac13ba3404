"""mean: the sum over the count. Intermediate: n, then sum's. Nothing has no mean.

Of integers it is float64(sum) / float64(n) with the mathematical sum, also where that leaves int64.
"""

import math

from plumbline.aggregates.entry import FLOAT, INTEGER, NULL, VALUE, Entry
from plumbline.aggregates.sum import LOW_MASK, add_float, add_integer
from plumbline.compiled import kernel


@kernel
def update_integer(w, f, i, x, y):  # type: ignore[no-untyped-def]
    w[i] += 1
    add_integer(w, i + 1, x >> 32, x & LOW_MASK)


@kernel
def merge_integer(w, f, i, from_w, from_f, j):  # type: ignore[no-untyped-def]
    w[i] += from_w[j]
    add_integer(w, i + 1, from_w[j + 1], from_w[j + 2])


@kernel
def finalize_integer(w, f, i, out_w, out_f, o):  # type: ignore[no-untyped-def]
    if w[i] == 0:
        return NULL
    high, low = w[i + 1], w[i + 2]
    fits = -(1 << 31) <= high < (1 << 31)  # else both parts are exact as floats, so one rounding
    total = float((high << 32) + low) if fits else float(high) * 4294967296.0 + float(low)
    out_f[o] = total / float(w[i])
    return VALUE


@kernel
def update_float(w, f, i, x, y):  # type: ignore[no-untyped-def]
    w[i] += 1
    add_float(f, i + 1, y)


@kernel
def merge_float(w, f, i, from_w, from_f, j):  # type: ignore[no-untyped-def]
    w[i] += from_w[j]
    add_float(f, i + 1, from_f[j + 1])
    add_float(f, i + 1, from_f[j + 2])


@kernel
def finalize_float(w, f, i, out_w, out_f, o):  # type: ignore[no-untyped-def]
    if w[i] == 0:
        return NULL
    out_f[o] = (f[i + 1] + f[i + 2]) / float(w[i])
    return NULL if math.isnan(out_f[o]) else VALUE


ENTRIES = (
    Entry("mean", INTEGER, FLOAT, 3, update_integer, merge_integer, finalize_integer),
    Entry("mean", FLOAT, FLOAT, 3, update_float, merge_float, finalize_float),
)
