"""How the engine's inner loops are compiled: to native code by numba, kept on disk for the next process.

numba notices when the file of a function changed, not when another file that was compiled into it did. So what it keeps of a
function is named by a hash of the function's file and all that this file imports of the package. Processes that run other
sources have other names: they neither misread nor disturb each other.

    python -m plumbline.compiled        compiles everything once, so that no first run has to wait for it
"""

import hashlib
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache

PACKAGE: Path = Path(__file__).parent
UNUSED_FOR_S = 86_400
"""What was compiled from other sources is removed when it is older than this."""

_IMPORT = re.compile(rb"^(?:from|import) plumbline\.([\w.]+)", re.MULTILINE)


def kernel(function: Callable[..., Any]) -> Any:
    """Decorator of a compiled function. It releases the GIL, so threads may run it side by side."""
    return _kept(njit(nogil=True)(function))


def inlined(function: Callable[..., Any]) -> Any:
    """Decorator of a small compiled function that is called in inner loops: it becomes part of its callers.

    It counts no references to the arrays that it is given, which would cost more than what it does; so it must not make or
    return any.
    """
    return _kept(njit(nogil=True, forceinline=True, _nrt=False)(function))


def sources_hash(*files: Path) -> str:
    """12 hex digits that change with the files and with what they import of the package, and these in turn."""
    waiting, wanted = list(files), set()
    while waiting:
        path = waiting.pop()
        if path not in wanted:
            wanted.add(path)
            waiting += _imported(path)
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(wanted))).hexdigest()[:12]


@cache
def _imported(path: Path) -> list[Path]:
    """The package's files that a file imports by name; of a folder, all."""
    places = [PACKAGE.joinpath(*found.decode().split(".")) for found in _IMPORT.findall(path.read_bytes())]
    return [file for place in places for file in ([place.with_suffix(".py")] if not place.is_dir() else place.glob("*.py"))]


@cache
def _hash_of(file: str) -> str:
    return sources_hash(Path(file))


class _OfItsSources:
    """Names what numba keeps of a function by its line and by all sources that it was compiled from."""

    _py_file: str
    _lineno: int

    def get_disambiguator(self) -> str:
        return f"{self._lineno}-{_hash_of(self._py_file)}"


class _Place(CompileResultCacheImpl):
    _locator_classes = tuple(
        type(locator.__name__, (_OfItsSources, locator), {}) for locator in CompileResultCacheImpl._locator_classes
    )


class _Cache(FunctionCache):
    """numba's own, but one process at a time adds to a folder: index and code of two would not fit each other."""

    _impl_class = _Place

    def save_overload(self, signature: object, compiled: object) -> None:
        folder, name = Path(self.cache_path), self._impl.filename_base
        with _alone(folder / ".kernels.lock"):
            super().save_overload(signature, compiled)
            _remove_unused(folder, name.partition("-")[0], name)


def _remove_unused(folder: Path, function: str, name: str) -> None:
    """Remove what was compiled of a function from other sources long ago; who still runs these compiles it again."""
    for path in folder.glob(f"{function}-*.nb[ic]"):
        if not path.name.startswith(name) and time.time() - path.stat().st_mtime > UNUSED_FOR_S:
            path.unlink()


def _kept(compiled: Any) -> Any:
    compiled._cache = _Cache(compiled.py_func)
    return compiled


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        if sys.platform != "win32":
            from fcntl import LOCK_EX, flock

            flock(lock, LOCK_EX)
        yield


if __name__ == "__main__":
    from plumbline.first_compile import main

    main()
