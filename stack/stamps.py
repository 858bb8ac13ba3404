"""What was installed where: a file beside it that holds the hash of what it was installed from."""

import hashlib
from pathlib import Path

NAME = ".installed-from"


def of(*sources: Path) -> str:
    """The stamp of an installation made from these files: changes when one of them does."""
    return hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()


def read(folder: Path) -> str:
    """The stamp left in `folder`; empty when nothing was installed there to the end."""
    path = folder / NAME
    return path.read_text() if path.exists() else ""


def write(folder: Path, stamp: str) -> None:
    (folder / NAME).write_text(stamp)
