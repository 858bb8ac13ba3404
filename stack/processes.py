"""One detached process of the platform: started with a pid file and a log, waited for, stopped with its children.

A process is ours when it carries our mark (stack/marks.py): so a stale pid file is harmless, and stopping ends
everything that was started here, children included, and nothing else. Only a start and a stop change pid files.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from fcntl import LOCK_EX, flock
from pathlib import Path

import psutil

from stack import marks, ports, steps

POLL_S = 0.1
PATIENCE_S = 20.0
KILL_ROUNDS = 3


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
    return _run_dir(data_dir) / f"{name}.pid"


def log_path(name: str, data_dir: Path) -> Path:
    """The log of the newest start; each start begins a new one."""
    return data_dir / "logs" / f"{name}.log"


def running(name: str, data_dir: Path) -> psutil.Process | None:
    """The live process `name` of this data directory, or None; asks, and changes nothing."""
    try:
        process = psutil.Process(int(pid_path(name, data_dir).read_text()))
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None
    return process if marks.awaited(process) == marks.of(name, data_dir) else None


def start(program: Program, data_dir: Path) -> bool:
    """Start `program` unless it already runs; True when it was started now. Does not wait until it is ready.

    Whatever a crashed one left behind is ended first. Raises ports.PortTaken when somebody else has one of its ports.
    """
    with _one_at_a_time(data_dir):
        if running(program.name, data_dir):
            return False
        _end([program.name], data_dir, PATIENCE_S)
        for port, setting in program.ports.items():
            ports.refuse_taken(port, setting, program.host)
        program.prepare()
        _spawn(program, data_dir)
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


def stop(names: Sequence[str], data_dir: Path, *, patience_s: float = PATIENCE_S) -> list[str]:
    """End the named processes and whatever they left behind; the names that were running, in the order given.

    All are asked first (SIGTERM) and given `patience_s` seconds to finish their work; what still carries one of their
    marks after that is killed. A start that is under way is waited for, then ended too.
    """
    with _one_at_a_time(data_dir) if _run_dir(data_dir).exists() else nullcontext():
        return _end(names, data_dir, patience_s)


def names(data_dir: Path) -> list[str]:
    """Names with a live process or a pid file in this data directory, sorted."""
    return sorted(marks.names(data_dir) | {path.stem for path in _run_dir(data_dir).glob("*.pid")})


def _spawn(program: Program, data_dir: Path) -> None:
    """Run the program detached; returns once its pid file is there and everybody can see whose process it is."""
    environment = {**os.environ, "TZ": "UTC", **program.environment, marks.VARIABLE: marks.of(program.name, data_dir)}
    with _new_log(program.name, data_dir).open("wb") as output:
        child = subprocess.Popen(
            program.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    path = pid_path(program.name, data_dir)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(f"{child.pid}\n")
    unfinished.replace(path)
    marks.awaited(psutil.Process(child.pid))


def _end(names: Sequence[str], data_dir: Path, patience_s: float) -> list[str]:
    """stop, for whoever holds the start lock. Children end with their parent; those without one are asked themselves."""
    wanted = {marks.of(name, data_dir): name for name in names}
    parents = {name: running(name, data_dir) for name in names}
    alive = marks.holders(wanted)
    asked = [process for process, name in alive.items() if parents[name] in (None, process)]
    for process in asked:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    psutil.wait_procs(asked, timeout=patience_s)
    _kill(wanted)
    for name in names:
        pid_path(name, data_dir).unlink(missing_ok=True)
    return [name for name in names if name in set(alive.values())]


def _kill(wanted: Mapping[str, str]) -> None:
    """Kill whatever carries one of the marks, and what those started in the meantime."""
    for _ in range(KILL_ROUNDS):
        doomed = list(marks.holders(wanted))
        for process in doomed:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(doomed, timeout=5)
        if not doomed:
            return


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


def _run_dir(data_dir: Path) -> Path:
    return data_dir / "run"


@contextmanager
def _one_at_a_time(data_dir: Path) -> Iterator[None]:
    """Hold the data directory's start lock: two `make up` at once start one of each."""
    run = _run_dir(data_dir)
    run.mkdir(parents=True, exist_ok=True)
    with (run / ".lock").open("w") as lock:
        flock(lock, LOCK_EX)
        yield
