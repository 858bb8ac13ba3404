"""sum: exact for integers, compensated for floats. Nothing sums to 0.

Intermediate of integers: (high, low) with value = high * 2^32 + low and 0 <= low < 2^32, which 2^31 events cannot overflow.
Intermediate of floats: (sum, compensation), Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher
Summen" (1974), whose error does not grow with the number of events; what an addition loses is found without a branch by
Knuth's TwoSum.
"""

import math

from plumbline.aggregates.entry import (
    FLOAT,
    INTEGER,
    NULL,
    OVERFLOW,
    VALUE,
    Entry,
    Floats,
    Words,
)
from plumbline.compiled import inlined

LOW_MASK = 0xFFFFFFFF


@inlined
def add_integer(w: Words, i: int, high: int, low: int) -> None:
    """Add high * 2^32 + low to the pair at i and carry."""
    total = w[i + 1] + low
    w[i] += high + (total >> 32)
    w[i + 1] = total & LOW_MASK


@inlined
def add_float(f: Floats, i: int, y: float) -> None:
    """Add y to the compensated pair at i."""
    total = f[i] + y
    if math.isinf(total):
        f[i + 1] = 0.0
    else:
        shift = total - f[i]
        f[i + 1] += (f[i] - (total - shift)) + (y - shift)
    f[i] = total


@inlined
def update_integer(w: Words, f: Floats, i: int, x: int, y: float) -> None:
    """Add x exactly."""
    add_integer(w, i, x >> 32, x & LOW_MASK)


@inlined
def merge_integer(w: Words, f: Floats, i: int, from_w: Words, from_f: Floats, j: int) -> None:
    """Add the exact sums."""
    add_integer(w, i, from_w[j], from_w[j + 1])


@inlined
def finalize_integer(w: Words, f: Floats, i: int, out_w: Words, out_f: Floats, o: int) -> int:
    """The sum as int64; OVERFLOW where it is none."""
    if w[i] < -(1 << 31) or w[i] >= (1 << 31):
        return OVERFLOW
    out_w[o] = (w[i] << 32) + w[i + 1]
    return VALUE


@inlined
def update_float(w: Words, f: Floats, i: int, x: int, y: float) -> None:
    """Add y with compensation."""
    add_float(f, i, y)


@inlined
def merge_float(w: Words, f: Floats, i: int, from_w: Words, from_f: Floats, j: int) -> None:
    """Add the sum and what it had lost."""
    add_float(f, i, from_f[j])
    add_float(f, i, from_f[j + 1])


@inlined
def finalize_float(w: Words, f: Floats, i: int, out_w: Words, out_f: Floats, o: int) -> int:
    """The compensated sum; null where it is no number (inf - inf)."""
    out_f[o] = f[i] + f[i + 1]
    return NULL if math.isnan(out_f[o]) else VALUE


ENTRIES = (
    Entry("sum", INTEGER, INTEGER, 2, update_integer, merge_integer, finalize_integer),
    Entry("sum", FLOAT, FLOAT, 2, update_float, merge_float, finalize_float),
)
