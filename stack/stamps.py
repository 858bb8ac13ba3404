"""What was installed where: a file beside it that holds the hash of what it was installed from."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import TextIO

from feature_repo.settings import PROJECT_ROOT

NAME = ".installed-from"
LOCK = PROJECT_ROOT / ".parts" / ".lock"
SILENT_S = 2.0
"""A set-up that finds everything in place takes a fraction of this: not worth a line to who waits for it."""


def of(*sources: Path) -> str:
    """The stamp of an installation made from these files: changes when one of them does."""
    return hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()


def read(folder: Path) -> str:
    """The stamp left in `folder`; empty when nothing was installed there to the end."""
    path = folder / NAME
    return path.read_text() if path.exists() else ""


def write(folder: Path, stamp: str) -> None:
    (folder / NAME).write_text(stamp)


@contextmanager
def one_set_up_at_a_time(path: Path = LOCK) -> Iterator[None]:
    """Wait, and after SILENT_S say so, while another set-up of this checkout runs: nothing is installed twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        if not _taken_within(SILENT_S, lock):
            print("Another make sets this checkout up; waiting for it ...", flush=True)
            flock(lock, LOCK_EX)
        yield


def _taken_within(seconds: float, lock: TextIO) -> bool:
    until = time.monotonic() + seconds
    while True:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        else:
            return True
