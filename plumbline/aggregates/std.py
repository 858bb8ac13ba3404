"""std: sample standard deviation (n - 1). Intermediate: (n, mean, m2), m2 the sum of squared distances from the mean.

Values are taken in by Welford's update, "Note on a method for calculating corrected sums of squares and products" (1962);
parts are merged as in Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979);
never E[x^2] - E[x]^2. One value, or none, has no deviation.
"""

import math

from plumbline.aggregates.entry import FLOAT, INTEGER, NULL, VALUE, Entry, Floats, Words
from plumbline.compiled import inlined


@inlined
def take_in(w: Words, f: Floats, i: int, y: float) -> None:
    """Welford's update of (n, mean, m2) at i by y."""
    w[i] += 1
    distance = y - f[i + 1]
    f[i + 1] += distance / w[i]
    f[i + 2] += distance * (y - f[i + 1])


@inlined
def update_integer(w: Words, f: Floats, i: int, x: int, y: float) -> None:
    """Take in x as a float."""
    take_in(w, f, i, float(x))


@inlined
def update_float(w: Words, f: Floats, i: int, x: int, y: float) -> None:
    """Take in y."""
    take_in(w, f, i, y)


@inlined
def merge(w: Words, f: Floats, i: int, from_w: Words, from_f: Floats, j: int) -> None:
    """Chan's merge of two (n, mean, m2)."""
    if from_w[j] == 0:
        return
    if w[i] == 0:
        w[i], f[i + 1], f[i + 2] = from_w[j], from_f[j + 1], from_f[j + 2]
        return
    n, m = float(w[i]), float(from_w[j])
    distance = from_f[j + 1] - f[i + 1]
    f[i + 1] += distance * (m / (n + m))
    f[i + 2] += from_f[j + 2] + distance * distance * (n * m / (n + m))
    w[i] += from_w[j]


@inlined
def finalize(w: Words, f: Floats, i: int, out_w: Words, out_f: Floats, o: int) -> int:
    """sqrt(m2 / (n - 1)); null of fewer than two values, and where it is no number."""
    if w[i] < 2:
        return NULL
    out_f[o] = math.sqrt(f[i + 2] / (w[i] - 1))
    return NULL if math.isnan(out_f[o]) else VALUE


ENTRIES = (
    Entry("std", INTEGER, FLOAT, 3, update_integer, merge, finalize),
    Entry("std", FLOAT, FLOAT, 3, update_float, merge, finalize),
)
