"""max: the largest value. Intermediate: (n, largest). Nothing has no maximum."""

from plumbline.aggregates.entry import FLOAT, INTEGER, Entry, Floats, Words
from plumbline.aggregates.extremes import finalize_float, finalize_integer
from plumbline.compiled import inlined


@inlined
def update_integer(w: Words, f: Floats, i: int, x: int, y: float) -> None:
    """Keep the larger of what was seen and x."""
    if w[i] == 0 or x > w[i + 1]:
        w[i + 1] = x
    w[i] += 1


@inlined
def merge_integer(w: Words, f: Floats, i: int, from_w: Words, from_f: Floats, j: int) -> None:
    """Keep the larger of both, as integers."""
    if from_w[j] and (w[i] == 0 or from_w[j + 1] > w[i + 1]):
        w[i + 1] = from_w[j + 1]
    w[i] += from_w[j]


@inlined
def update_float(w: Words, f: Floats, i: int, x: int, y: float) -> None:
    """Keep the larger of what was seen and y."""
    if w[i] == 0 or y > f[i + 1]:
        f[i + 1] = y
    w[i] += 1


@inlined
def merge_float(w: Words, f: Floats, i: int, from_w: Words, from_f: Floats, j: int) -> None:
    """Keep the larger of both, as floats."""
    if from_w[j] and (w[i] == 0 or from_f[j + 1] > f[i + 1]):
        f[i + 1] = from_f[j + 1]
    w[i] += from_w[j]


ENTRIES = (
    Entry("max", INTEGER, "column", 2, update_integer, merge_integer, finalize_integer),
    Entry("max", FLOAT, "column", 2, update_float, merge_float, finalize_float),
)
