"""What was installed where: a file beside it that holds the hash of what it was installed from."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from feature_repo.settings import PROJECT_ROOT

NAME = ".installed-from"
LOCK = PROJECT_ROOT / ".parts" / ".lock"


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
    """Wait, and say so, while another set-up of this checkout runs: what it installs need not be installed again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            print("Another make sets this checkout up; waiting for it ...", flush=True)
            flock(lock, LOCK_EX)
        yield
