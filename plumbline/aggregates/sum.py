"""sum: exact for integers, compensated for floats. Nothing sums to 0.

Intermediate of integers: (high, low) with value = high * 2^32 + low and 0 <= low < 2^32, which 2^31 events cannot overflow.
Intermediate of floats: (sum, compensation), Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher
Summen" (1974), whose error does not grow with the number of events.
"""

import math

from plumbline.aggregates.entry import FLOAT, INTEGER, NULL, OVERFLOW, VALUE, Entry
from plumbline.compiled import kernel

LOW_MASK = 0xFFFFFFFF


@kernel
def add_integer(w, i, high, low):  # type: ignore[no-untyped-def]
    """Add high * 2^32 + low to the pair at i and carry."""
    total = w[i + 1] + low
    w[i] += high + (total >> 32)
    w[i + 1] = total & LOW_MASK


@kernel
def add_float(f, i, y):  # type: ignore[no-untyped-def]
    """Add y to the compensated pair at i."""
    total = f[i] + y
    if math.isinf(total):
        f[i + 1] = 0.0
    elif abs(f[i]) >= abs(y):
        f[i + 1] += (f[i] - total) + y
    else:
        f[i + 1] += (y - total) + f[i]
    f[i] = total


@kernel
def update_integer(w, f, i, x, y):  # type: ignore[no-untyped-def]
    add_integer(w, i, x >> 32, x & LOW_MASK)


@kernel
def merge_integer(w, f, i, from_w, from_f, j):  # type: ignore[no-untyped-def]
    add_integer(w, i, from_w[j], from_w[j + 1])


@kernel
def finalize_integer(w, f, i, out_w, out_f, o):  # type: ignore[no-untyped-def]
    if w[i] < -(1 << 31) or w[i] >= (1 << 31):
        return OVERFLOW
    out_w[o] = (w[i] << 32) + w[i + 1]
    return VALUE


@kernel
def update_float(w, f, i, x, y):  # type: ignore[no-untyped-def]
    add_float(f, i, y)


@kernel
def merge_float(w, f, i, from_w, from_f, j):  # type: ignore[no-untyped-def]
    add_float(f, i, from_f[j])
    add_float(f, i, from_f[j + 1])


@kernel
def finalize_float(w, f, i, out_w, out_f, o):  # type: ignore[no-untyped-def]
    out_f[o] = f[i] + f[i + 1]
    return NULL if math.isnan(out_f[o]) else VALUE


ENTRIES = (
    Entry("sum", INTEGER, INTEGER, 2, update_integer, merge_integer, finalize_integer),
    Entry("sum", FLOAT, FLOAT, 2, update_float, merge_float, finalize_float),
)
