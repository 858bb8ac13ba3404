"""count: how many values are not null. Intermediate: n. Nothing counts 0."""

from plumbline.aggregates.entry import FLOAT, INTEGER, VALUE, Entry
from plumbline.compiled import kernel


@kernel
def update(w, f, i, x, y):  # type: ignore[no-untyped-def]
    w[i] += 1


@kernel
def merge(w, f, i, from_w, from_f, j):  # type: ignore[no-untyped-def]
    w[i] += from_w[j]


@kernel
def finalize(w, f, i, out_w, out_f, o):  # type: ignore[no-untyped-def]
    out_w[o] = w[i]
    return VALUE


ENTRIES = tuple(Entry("count", kind, INTEGER, 1, update, merge, finalize) for kind in (INTEGER, FLOAT))
