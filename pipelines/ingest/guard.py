"""Only one load at a time, and none while an archive writes to the same log."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock

import psutil

from feature_repo.settings import Settings
from pipelines.ingest.refusals import LoadRefused


@contextmanager
def sole_load(settings: Settings) -> Iterator[None]:
    """Hold the data directory's load lock; raises LoadRefused while another load has it. A crash releases it."""
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    with (settings.run_dir / "load.lock").open("w") as lock:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise LoadRefused(f"Another `make data` is loading into {settings.data_dir}. Wait until it has ended.") from None
        yield


def refuse_while_archiving(settings: Settings) -> None:
    """Raise LoadRefused while the process named in run/archive.pid lives: it would write to the log being replaced."""
    pid_file = settings.run_dir / "archive.pid"
    found = re.search(r"\d+", pid_file.read_text()) if pid_file.exists() else None
    if found and _lives(int(found[0])):
        raise LoadRefused(
            f"The archive (pid {found[0]}, {pid_file}) is writing to {settings.transactions_path}. "
            "Run `make stop`, then `make data` again."
        )


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, OverflowError):
        return False
