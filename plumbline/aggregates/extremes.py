"""What min and max share: an intermediate (n, value), the second without meaning while n is 0."""

from plumbline.aggregates.entry import NULL, VALUE, Floats, Words
from plumbline.compiled import inlined


@inlined
def finalize_integer(w: Words, f: Floats, i: int, out_w: Words, out_f: Floats, o: int) -> int:
    """The value as an integer; null of nothing."""
    out_w[o] = w[i + 1]
    return NULL if w[i] == 0 else VALUE


@inlined
def finalize_float(w: Words, f: Floats, i: int, out_w: Words, out_f: Floats, o: int) -> int:
    """The value as a float; null of nothing."""
    out_f[o] = f[i + 1]
    return NULL if w[i] == 0 else VALUE
