"""How the engine's inner loops are compiled: to native code by numba, kept on disk beside the sources."""

import hashlib
from pathlib import Path

from numba import njit

kernel = njit(cache=True, nogil=True)
"""Decorator of a compiled function. It releases the GIL, so threads may run it side by side."""

inlined = njit(cache=True, nogil=True, forceinline=True)
"""Decorator of a small compiled function that is called in inner loops: it becomes part of its callers."""

_SOURCES = Path(__file__).parent
_STAMP = "kernels.sha256"


def forget_stale_kernels() -> None:
    """Remove compiled code of other sources than these.

    numba notices a changed file but not a change in a function of another file that was compiled into it; a stamp of all
    sources beside the compiled code does. Where the folder cannot be written numba keeps its code elsewhere, keyed by file.
    """
    compiled = [path for folder in (_SOURCES, _SOURCES / "aggregates") for path in (folder / "__pycache__").glob("*.nb[ic]")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(_SOURCES.rglob("*.py")))).hexdigest()
    stamp = _SOURCES / "__pycache__" / _STAMP
    try:
        if compiled and (not stamp.exists() or stamp.read_text() != digest):
            for path in compiled:
                path.unlink(missing_ok=True)
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(digest)
    except OSError:
        return
