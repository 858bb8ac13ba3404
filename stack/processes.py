"""One detached process of the platform: started with a pid file and a log, waited for, stopped with its children.

A process is ours when it carries the mark `PLUMBLINE_PROCESS=<name>@<data directory>` in its environment. Children
inherit the mark (the archive's JVM and its Python workers do), a recycled pid does not have it: so a stale pid file is
harmless, and stopping ends everything that was started here and nothing else.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fcntl import LOCK_EX, flock
from pathlib import Path

import psutil

from stack import ports, steps

MARK = "PLUMBLINE_PROCESS"
POLL_S = 0.1
MARK_WITHIN_S = 5.0


class NotStarted(RuntimeError):
    """A process ended, or did not answer, before it was ready; the message holds the last lines of its log."""


@dataclass(frozen=True)
class Program:
    """What to run and how to know that it answers.

    `ports` maps each port that must be free on `host` before the start to the setting that names it.
    `prepare` runs once before the start, not when the process runs already.
    `complaint` is what it says itself, while it is not ready, about what is missing.
    `ready` is asked every 100 ms and must not block for long; `ready_within_s` bounds the wait, in seconds.
    """

    name: str
    command: Sequence[str]
    ready: Callable[[], bool]
    ports: Mapping[int, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"
    prepare: Callable[[], None] = lambda: None
    complaint: Callable[[], str] = lambda: ""
    ready_within_s: float = 60.0


def pid_path(name: str, data_dir: Path) -> Path:
    return data_dir / "run" / f"{name}.pid"


def log_path(name: str, data_dir: Path) -> Path:
    """The log of the newest start; each start begins a new one."""
    return data_dir / "logs" / f"{name}.log"


def running(name: str, data_dir: Path) -> psutil.Process | None:
    """The live process `name` of this data directory, or None; a stale pid file is removed on the way."""
    path = pid_path(name, data_dir)
    try:
        process = psutil.Process(int(path.read_text()))
        if _mark(process) == _mark_of(name, data_dir):
            return process
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        pass
    path.unlink(missing_ok=True)
    return None


def start(program: Program, data_dir: Path) -> bool:
    """Start `program` unless it already runs; True when it was started now. Does not wait until it is ready.

    Raises ports.PortTaken when one of its ports is in use by somebody else.
    """
    with _one_at_a_time(data_dir):
        if running(program.name, data_dir):
            return False
        stop([program.name], data_dir)
        for port, setting in program.ports.items():
            ports.refuse_taken(port, setting, program.host)
        program.prepare()
        log = _new_log(program.name, data_dir)
        environment = {**os.environ, "TZ": "UTC", **program.environment, MARK: _mark_of(program.name, data_dir)}
        with log.open("wb") as output:
            process = subprocess.Popen(
                program.command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        pid_path(program.name, data_dir).write_text(f"{process.pid}\n")
        _await_mark(process)
    return True


def await_ready(program: Program, data_dir: Path) -> None:
    """Return once `program` answers; raise NotStarted when it ended first or took longer than it may."""
    deadline = time.monotonic() + program.ready_within_s
    while not program.ready():
        if running(program.name, data_dir) is None:
            raise NotStarted(f"{program.name} ended before it was ready. {_log_tail(program.name, data_dir)}")
        if time.monotonic() > deadline:
            said = f"{program.name} was not ready after {program.ready_within_s:.0f} s. {program.complaint()}".strip()
            raise NotStarted(f"{said} {_log_tail(program.name, data_dir)}")
        time.sleep(POLL_S)


def stop(names: Sequence[str], data_dir: Path, *, patience_s: float = 20.0) -> list[str]:
    """End the named processes and whatever they left behind; the names that were running, in the order given.

    All are asked first (SIGTERM) and given `patience_s` seconds to finish their work; what still carries one of their
    marks after that is killed.
    """
    marks = {_mark_of(name, data_dir): name for name in names}
    alive = _marked(marks)
    asked = [running(name, data_dir) for name in names]
    for process in [process for process in asked if process] or alive:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    psutil.wait_procs([process for process in asked if process] or alive, timeout=patience_s)
    _kill(_marked(marks))
    for name in names:
        pid_path(name, data_dir).unlink(missing_ok=True)
    stopped = {name for process, name in alive.items()}
    return [name for name in names if name in stopped]


def names(data_dir: Path) -> list[str]:
    """Names with a live process or a pid file in this data directory, sorted."""
    owner = f"@{data_dir.resolve()}"
    marked = {mark.removesuffix(owner) for mark in map(_mark, psutil.process_iter()) if mark.endswith(owner)}
    return sorted(marked | {path.stem for path in (data_dir / "run").glob("*.pid")})


def _mark_of(name: str, data_dir: Path) -> str:
    return f"{name}@{data_dir.resolve()}"


def _mark(process: psutil.Process) -> str:
    """The mark of a live process; empty for a stranger, a zombie, or a process that may not be looked at."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        return process.environ().get(MARK, "")
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        return ""


def _marked(marks: Mapping[str, str]) -> dict[psutil.Process, str]:
    """Every live process with one of the marks, and the name the mark stands for."""
    found = ((process, marks.get(_mark(process))) for process in psutil.process_iter())
    return {process: name for process, name in found if name}


def _kill(processes: Iterable[psutil.Process]) -> None:
    doomed = list(processes)
    for process in doomed:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(doomed, timeout=5)


def _await_mark(process: subprocess.Popen[bytes]) -> None:
    """For a moment after its start a process shows no environment; until it does it would pass for a stranger."""
    deadline = time.monotonic() + MARK_WITHIN_S
    while process.poll() is None and not _mark(psutil.Process(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.005)


def _new_log(name: str, data_dir: Path) -> Path:
    """The path of this start's log; the one of the start before is kept as <name>.previous.log."""
    log = log_path(name, data_dir)
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_name(f"{name}.previous.log"))
    return log


def _log_tail(name: str, data_dir: Path) -> str:
    path = log_path(name, data_dir)
    return "\n  ".join([f"The end of {path}:", *steps.tail(path)])


@contextmanager
def _one_at_a_time(data_dir: Path) -> Iterator[None]:
    """Hold the data directory's start lock: two `make up` at once start one of each."""
    run = data_dir / "run"
    run.mkdir(parents=True, exist_ok=True)
    with (run / ".lock").open("w") as lock:
        flock(lock, LOCK_EX)
        yield
