"""Folders for what the tasks of one machine hand each other: in memory while there is plenty of it, else on disk.

A process that is killed leaves its folder behind, and what lies in memory takes it until somebody removes it. So a folder in
memory is locked while it is used, and who comes next removes those that nobody holds.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

MEMORY = Path("/dev/shm")
"""Linux's file system in memory; elsewhere there is none."""
KEPT_FREE = 0.5
"""The share of the machine's memory that must stay available for a file to be written into memory."""
LOCK, PREFIX = ".in-use", "plumbline-"
ABANDONED_AFTER_S = 60
"""A folder that nobody has locked may be this young because it is being made."""


@contextmanager
def scratch_folders(disk: str | None) -> Iterator[tuple[str, ...]]:
    """One folder on disk (None: where temporary files go), and before it one in memory where the system has that."""
    with ExitStack() as stack:
        on_disk = stack.enter_context(TemporaryDirectory(prefix=PREFIX, dir=disk, ignore_cleanup_errors=True))
        if not os.access(MEMORY, os.W_OK):
            yield (on_disk,)
            return
        _remove_abandoned()
        in_memory = stack.enter_context(TemporaryDirectory(prefix=PREFIX, dir=MEMORY, ignore_cleanup_errors=True))
        _locked(stack.enter_context(Path(in_memory, LOCK).open("w")).fileno())
        yield in_memory, on_disk


def roomy(folders: tuple[str, ...], size_bytes: int) -> str:
    """Which of scratch_folders a file of that size belongs into."""
    if len(folders) == 1:
        return folders[0]
    in_memory, on_disk = folders
    kilobytes = {name: int(text.split()[0]) for name, _, text in _meminfo()}
    spared = kilobytes["MemAvailable"] * 1024 - size_bytes > KEPT_FREE * kilobytes["MemTotal"] * 1024
    return in_memory if spared and shutil.disk_usage(in_memory).free > 2 * size_bytes else on_disk


def _meminfo() -> list[tuple[str, str, str]]:
    return [line.partition(":") for line in Path("/proc/meminfo").read_text().splitlines()]


def _remove_abandoned() -> None:
    for lock in MEMORY.glob(f"{PREFIX}*/{LOCK}"):
        try:
            with lock.open() as file:
                if time.time() - lock.stat().st_mtime > ABANDONED_AFTER_S and _locked(file.fileno()):
                    shutil.rmtree(lock.parent, ignore_errors=True)
        except OSError:  # its user has just removed it, or is another user of the machine
            continue


def _locked(file: int) -> bool:
    """Lock an open file; False where another process holds it."""
    from fcntl import LOCK_EX, LOCK_NB, flock  # not on Windows, which has no MEMORY either

    try:
        flock(file, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    return True
