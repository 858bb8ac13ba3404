"""min: the smallest value. Intermediate: (n, smallest). Nothing has no minimum."""

from plumbline.aggregates.entry import FLOAT, INTEGER, Entry
from plumbline.aggregates.extremes import finalize_float, finalize_integer
from plumbline.compiled import kernel


@kernel
def update_integer(w, f, i, x, y):  # type: ignore[no-untyped-def]
    if w[i] == 0 or x < w[i + 1]:
        w[i + 1] = x
    w[i] += 1


@kernel
def merge_integer(w, f, i, from_w, from_f, j):  # type: ignore[no-untyped-def]
    if from_w[j] and (w[i] == 0 or from_w[j + 1] < w[i + 1]):
        w[i + 1] = from_w[j + 1]
    w[i] += from_w[j]


@kernel
def update_float(w, f, i, x, y):  # type: ignore[no-untyped-def]
    if w[i] == 0 or y < f[i + 1]:
        f[i + 1] = y
    w[i] += 1


@kernel
def merge_float(w, f, i, from_w, from_f, j):  # type: ignore[no-untyped-def]
    if from_w[j] and (w[i] == 0 or from_f[j + 1] < f[i + 1]):
        f[i + 1] = from_f[j + 1]
    w[i] += from_w[j]


ENTRIES = (
    Entry("min", INTEGER, "column", 2, update_integer, merge_integer, finalize_integer),
    Entry("min", FLOAT, "column", 2, update_float, merge_float, finalize_float),
)
