"""count: how many values are not null. Intermediate: n. Nothing counts 0."""

from plumbline.aggregates.entry import FLOAT, INTEGER, VALUE, Entry, Floats, Words
from plumbline.compiled import inlined


@inlined
def update(w: Words, f: Floats, i: int, x: int, y: float) -> None:
    """One more value."""
    w[i] += 1


@inlined
def merge(w: Words, f: Floats, i: int, from_w: Words, from_f: Floats, j: int) -> None:
    """Add the counts."""
    w[i] += from_w[j]


@inlined
def finalize(w: Words, f: Floats, i: int, out_w: Words, out_f: Floats, o: int) -> int:
    """The count; 0 of nothing."""
    out_w[o] = w[i]
    return VALUE


ENTRIES = tuple(Entry("count", kind, INTEGER, 1, update, merge, finalize, any_type=True) for kind in (INTEGER, FLOAT))
