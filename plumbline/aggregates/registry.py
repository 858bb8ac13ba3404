"""Finds the aggregate files and joins them into one compiled dispatch, so that a kernel can hold any mixture of them."""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import plumbline.aggregates as _package
from plumbline.aggregates.entry import Entry
from plumbline.compiled import inlined

_FAMILIAR = ("count", "sum", "mean", "min", "max", "std")


def _found() -> tuple[Entry, ...]:
    """Entries of every file in this folder, in the order of file names; an entry's index is its code."""
    names = sorted(module.name for module in iter_modules(_package.__path__) if module.name != "registry")
    modules = [import_module(f"plumbline.aggregates.{name}") for name in names]
    return tuple(entry for module in modules for entry in getattr(module, "ENTRIES", ()))


def _dispatch(part: str, arguments: str) -> Callable[..., Any]:
    """One compiled function that calls `part` of the entry whose code comes first.

    It is written out as one flat choice, because numba has no tables of functions and nested calls cost more than most
    aggregates do themselves.
    """
    calls = [f"case_{code}({arguments})" for code in range(len(ENTRIES))]
    choices = "".join(f"    if code == {code}:\n        return {call}\n" for code, call in enumerate(calls[:-1]))
    source = f"def {part}(code, {arguments}):\n{choices}    return {calls[-1]}\n"
    functions = {f"case_{code}": getattr(entry, part) for code, entry in enumerate(ENTRIES)}
    namespace = {"__name__": __name__, **functions}
    exec(compile(source, __file__, "exec"), namespace)
    return inlined(namespace[part])


ENTRIES = _found()
update = _dispatch("update", "w, f, i, x, y")
merge = _dispatch("merge", "w, f, i, from_w, from_f, j")
finalize = _dispatch("finalize", "w, f, i, out_w, out_f, o")
WIDEST = max(entry.width for entry in ENTRIES)
"""Words of the widest intermediate."""


def entry_code(function: str, kind: str) -> int:
    """The code by which kernels know an aggregate over a kind of column; raises KeyError when there is none."""
    for code, entry in enumerate(ENTRIES):
        if (entry.function, entry.kind) == (function, kind):
            return code
    raise KeyError(f"no aggregate '{function}' over {kind} columns")


def is_registered(function: str, kind: str) -> bool:
    """Whether there is such an aggregate over such columns."""
    return any((entry.function, entry.kind) == (function, kind) for entry in ENTRIES)


def registered_functions() -> tuple[str, ...]:
    """Names of the aggregates that were found: those that everybody knows first, as people list them, the others by name."""
    found = sorted({entry.function for entry in ENTRIES})
    return tuple(sorted(found, key=lambda name: _FAMILIAR.index(name) if name in _FAMILIAR else len(_FAMILIAR)))
