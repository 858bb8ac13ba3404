"""What numba compiled from the engine here, for a copy of the engine elsewhere: to compile it again takes a minute."""

import contextlib
import shutil
from pathlib import Path

import plumbline

PACKAGE = Path(plumbline.__file__).parent


def lend_kernels(package: Path) -> None:
    """Copy everything compiled to the engine's folder `package`; numba takes it where the sources there are the same."""
    for pattern in ("*.nbi", "*.nbc"):
        for compiled in PACKAGE.rglob(pattern):
            copy = package / compiled.relative_to(PACKAGE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # another process may be writing numba's files just now
                shutil.copy2(compiled, copy)
