"""Whose process it is: the mark `PLUMBLINE_PROCESS=<name>@<data directory>` in its environment.

Children inherit the mark (the archive's JVM and its Python workers do), a recycled pid does not have it.
For a moment after its start, and while it ends, a live process shows no environment at all: it is not known yet.
"""

import time
from collections.abc import Mapping
from pathlib import Path

import psutil

VARIABLE = "PLUMBLINE_PROCESS"
STRANGER = ""
SHOWN_WITHIN_S = 1.0
POLL_S = 0.005


def of(name: str, data_dir: Path) -> str:
    """The mark of the process `name` of a data directory."""
    return f"{name}@{data_dir.resolve()}"


def read(process: psutil.Process) -> str | None:
    """The mark of a live process; None while it shows no environment (kernel threads never do).

    STRANGER for a process without a mark, one that may not be looked at, a zombie, and one that is gone.
    """
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return STRANGER
        environment = process.environ()
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        return STRANGER
    return environment.get(VARIABLE, STRANGER) if environment else None


def awaited(process: psutil.Process) -> str | None:
    """The mark of a process as soon as it shows its environment; None when it shows none for a second."""
    deadline = time.monotonic() + SHOWN_WITHIN_S
    while (mark := read(process)) is None and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return mark


def holders(marks: Mapping[str, str]) -> dict[psutil.Process, str]:
    """Every live process with one of the marks, and the name the mark stands for."""
    found = ((process, marks.get(read(process) or STRANGER)) for process in psutil.process_iter())
    return {process: name for process, name in found if name}


def names(data_dir: Path) -> set[str]:
    """The name in the mark of every live process of a data directory."""
    owner = of("", data_dir)
    found = (read(process) or STRANGER for process in psutil.process_iter())
    return {mark.removesuffix(owner) for mark in found if mark.endswith(owner)}
