"""What min and max share: an intermediate (n, value), the second without meaning while n is 0."""

from plumbline.aggregates.entry import NULL, VALUE
from plumbline.compiled import kernel


@kernel
def finalize_integer(w, f, i, out_w, out_f, o):  # type: ignore[no-untyped-def]
    out_w[o] = w[i + 1]
    return NULL if w[i] == 0 else VALUE


@kernel
def finalize_float(w, f, i, out_w, out_f, o):  # type: ignore[no-untyped-def]
    out_f[o] = f[i + 1]
    return NULL if w[i] == 0 else VALUE
