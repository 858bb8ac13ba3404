"""Ambushes: a victim stops or kills itself at a chosen line, before or after it moves a view's positions.

The chaos lays one as a file; the first victim of that role that comes to the line takes the file away under its own pid and
sends itself the signal. The line is StoreClient.scripts, wrapped in the victims alone (in_victims/sitecustomize.py); what they
run is the project's code as it is.
"""

import importlib.abc
import importlib.machinery
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil

VARIABLE = "CHAOS_AMBUSHES"
"""The folder of the ambushes, in the environment of every victim."""

FOLD, MATERIALIZE = "fold", "materialize"
BEFORE, ANSWERED, MOVED = "before", "answered", "moved"
"""Before the store is asked to move positions, once it has answered, whatever it said, and once it has moved them."""
LOOK_EVERY_S = 0.02
Call = tuple[Sequence[Any], Sequence[Any]]
"""The keys and arguments of a script; keys of states are bytes, those of positions text."""


class Ambushes:
    """The chaos's side: lays them, and sees who fell in."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def lay(self, role: str, moment: str, view: str, number: signal.Signals) -> None:
        """The next process of a role that is about to move the view's positions, or just has, sends itself a signal."""
        path = self._path(role, moment)
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(f"{number.value} {view}")
        unfinished.replace(path)

    def caught(self, role: str, moment: str, within_s: float) -> int | None:
        """The pid of the process that fell in and is stopped or dead; None when none did: then nothing lies there any more."""
        path = self._path(role, moment)
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            for taken in self._folder.glob(f"{path.name}.[0-9]*"):
                taken.unlink()
                pid = int(taken.suffix[1:])
                _await_signal(pid)
                return pid
            time.sleep(LOOK_EVERY_S)
        path.unlink(missing_ok=True)
        return None

    def _path(self, role: str, moment: str) -> Path:
        return self._folder / f"{role}-{moment}"


def _await_signal(pid: int) -> None:
    """Return once the signal that the process sent itself has done its work."""
    with suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
            time.sleep(LOOK_EVERY_S)


def lie_in_wait() -> None:
    """In a victim: wrap StoreClient.scripts as soon as the project imports it."""
    folder, role = os.environ.get(VARIABLE), _role(sys.orig_argv)
    if folder and role:
        sys.meta_path.insert(0, _Wrapping(Path(folder), role))


def _role(arguments: Sequence[str]) -> str:
    if "streaming.fold" in arguments:
        return FOLD
    return MATERIALIZE if any(argument.startswith("materialize") for argument in arguments) else ""


class _Wrapping(importlib.abc.MetaPathFinder):
    """Finds plumbline.store_client where it is, and wraps its scripts once it has been executed."""

    def __init__(self, folder: Path, role: str) -> None:
        self._folder, self._role = folder, role

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> importlib.machinery.ModuleSpec | None:
        if name != "plumbline.store_client":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                self._wrap(module.StoreClient)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

    def _wrap(self, client: Any) -> None:
        scripts = client.scripts

        @wraps(scripts)
        def ambushed(this: Any, script: str, calls: Sequence[Call]) -> Any:
            self._pass(BEFORE, calls)
            answers = scripts(this, script, calls)
            self._pass(ANSWERED, calls)
            if all(_outcome(answer) == b"ok" for answer in answers):
                self._pass(MOVED, calls)
            return answers

        client.scripts = ambushed

    def _pass(self, moment: str, calls: Sequence[Call]) -> None:
        """Fall into the ambush laid here, if there is one and a position of its view is moved."""
        path = self._folder / f"{self._role}-{moment}"
        with suppress(FileNotFoundError):
            number, view = path.read_text().split()
            if not any(f":p:{view}:" in key for keys, _ in calls for key in keys if isinstance(key, str)):
                return
            path.rename(path.with_suffix(f".{os.getpid()}"))
            # to this thread: sent to the process another may take it, and this one goes on for a moment
            signal.pthread_kill(threading.get_ident(), int(number))


def _outcome(answer: Any) -> Any:
    """What a script that moves positions says first, or alone."""
    return answer[0] if isinstance(answer, list) and answer else answer
