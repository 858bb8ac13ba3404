"""The aggregates: one file each, `update`, `merge` and `finalize` over a small intermediate, compiled.

An intermediate is `width` 64-bit words, all zero for nothing seen (the identity). The words are seen through two arrays over
the same memory, `w` as int64 and `f` as float64; an intermediate begins at index `i` of both.

    update(w, f, i, x, y)               take in one value that is not null: x of an integer column, y of a float column
    merge(w, f, i, from_w, from_f, j)   take in another intermediate; associative and commutative
    finalize(w, f, i, out_w, out_f, o)  write the result to index o of out_w (integers) or out_f (floats); says NULL, VALUE
                                        or OVERFLOW

A new aggregate is one new file here, whose functions are @inlined and which ends with ENTRIES; nothing else names it. It can
then be declared, and history, fold and read call it.
"""

from plumbline.aggregates.registry import (
    ENTRIES,
    WIDEST,
    Entry,
    entry_code,
    finalize,
    is_registered,
    merge,
    registered_functions,
    update,
)

__all__ = ["ENTRIES", "WIDEST", "Entry", "entry_code", "finalize", "is_registered", "merge", "registered_functions", "update"]
