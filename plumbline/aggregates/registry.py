"""Finds the aggregate files and joins them into one compiled dispatch, so that a kernel can hold any mixture of them."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import plumbline.aggregates as _package
from plumbline.aggregates.entry import Entry
from plumbline.compiled import kernel


def _found() -> tuple[Entry, ...]:
    """Entries of every file in this folder, in the order of file names; an entry's index is its code."""
    names = sorted(module.name for module in iter_modules(_package.__path__) if module.name != "registry")
    modules = [import_module(f"plumbline.aggregates.{name}") for name in names]
    return tuple(entry for module in modules for entry in getattr(module, "ENTRIES", ()))


def _update_dispatch(functions: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    head = functions[0]
    if len(functions) == 1:

        @kernel
        def only(code, w, f, i, x, y):  # type: ignore[no-untyped-def]
            head(w, f, i, x, y)

        return only
    rest = _update_dispatch(functions[1:])

    @kernel
    def dispatch(code, w, f, i, x, y):  # type: ignore[no-untyped-def]
        if code == 0:
            head(w, f, i, x, y)
        else:
            rest(code - 1, w, f, i, x, y)

    return dispatch


def _merge_dispatch(functions: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    head = functions[0]
    if len(functions) == 1:

        @kernel
        def only(code, w, f, i, from_w, from_f, j):  # type: ignore[no-untyped-def]
            head(w, f, i, from_w, from_f, j)

        return only
    rest = _merge_dispatch(functions[1:])

    @kernel
    def dispatch(code, w, f, i, from_w, from_f, j):  # type: ignore[no-untyped-def]
        if code == 0:
            head(w, f, i, from_w, from_f, j)
        else:
            rest(code - 1, w, f, i, from_w, from_f, j)

    return dispatch


def _finalize_dispatch(functions: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    head = functions[0]
    if len(functions) == 1:

        @kernel
        def only(code, w, f, i, out_w, out_f, o):  # type: ignore[no-untyped-def]
            return head(w, f, i, out_w, out_f, o)

        return only
    rest = _finalize_dispatch(functions[1:])

    @kernel
    def dispatch(code, w, f, i, out_w, out_f, o):  # type: ignore[no-untyped-def]
        if code == 0:
            return head(w, f, i, out_w, out_f, o)
        return rest(code - 1, w, f, i, out_w, out_f, o)

    return dispatch


ENTRIES = _found()
update = _update_dispatch([entry.update for entry in ENTRIES])
merge = _merge_dispatch([entry.merge for entry in ENTRIES])
finalize = _finalize_dispatch([entry.finalize for entry in ENTRIES])


def entry_code(function: str, kind: str) -> int:
    """The code by which kernels know an aggregate over a kind of column; raises KeyError when there is none."""
    for code, entry in enumerate(ENTRIES):
        if (entry.function, entry.kind) == (function, kind):
            return code
    raise KeyError(f"no aggregate '{function}' over {kind} columns")


def numeric_functions() -> tuple[str, ...]:
    """Names of the aggregates that were found, each once."""
    return tuple(dict.fromkeys(entry.function for entry in ENTRIES))
