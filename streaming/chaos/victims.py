"""The stack that the chaos runs against: its own data directory and ports, started by the project's own commands."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil

from feature_repo.settings import LOOPBACK, PROJECT_ROOT, Settings
from streaming.chaos.ambush import VARIABLE, Ambushes

PORTS = range(20_000, 30_000)
UP_WITHIN_S = 600.0
IN_VICTIMS = str(Path(__file__).with_name("in_victims"))
NOWHERE = "http://127.0.0.1:9"
"""An MLflow of the user's own, as far as the stack can tell: none is started."""


class NotUp(RuntimeError):
    """A part of the stack did not start; the message holds the command's last words."""


class Victims:
    """The processes by the names of their pid files: kafka, redis, archive, fold, fold-2 ..."""

    def __init__(self, data_dir: Path, folds: int) -> None:
        shutil.rmtree(data_dir, ignore_errors=True)
        data_dir.mkdir(parents=True)
        self.folds = ["fold", *(f"fold-{number}" for number in range(2, folds + 1))]
        first = free_ports(4 + folds)
        self.ambushes = Ambushes(data_dir / "ambushes")
        self._environment = {
            **os.environ,
            "DATA_DIR": str(data_dir),
            "KAFKA_BOOTSTRAP_SERVERS": "",
            "REDIS_CONNECTION_STRING": "",
            "MLFLOW_TRACKING_URI": NOWHERE,
            "KAFKA_PORT": str(first),
            "REDIS_PORT": str(first + 2),
            "API_PORT": str(first + 3),
            "API_KEYS": "",
            "FOLD_METRICS_PORT": str(first + 4),
            "SPARK_MASTER": "local[1]",
            VARIABLE: str(data_dir / "ambushes"),
            "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), IN_VICTIMS])),
        }
        self.settings = Settings.from_env(self._environment)
        self._starting: list[subprocess.Popen[bytes]] = []
        self._materializing: subprocess.Popen[bytes] | None = None
        self._api: subprocess.Popen[bytes] | None = None

    def bring_up(self) -> None:
        """Broker, store, definitions, folds and archive; returns when all are ready. Raises NotUp."""
        self.bring_up_parts()
        self.heal()
        self.heal_wholly()

    def bring_up_parts(self) -> None:
        """Broker, store and definitions only. Raises NotUp."""
        self._run("stack.embedded")
        self._run("stack.feast_cli", "apply")

    def start_fold(self) -> None:
        """One fold and nothing else; returns when it is ready. Raises NotUp."""
        self._run("stack.services", "stream", "--only", "fold")

    def start_api(self) -> None:
        """The REST API as after a training that could train nothing: it answers with features. Returns when it does.

        Raises NotUp.
        """
        self.settings.reports_path.mkdir(parents=True, exist_ok=True)
        (self.settings.reports_path / "train.json").write_text("{}", encoding="utf-8")
        self._api = self._spawn("serving", MLFLOW_TRACKING_URI=f"sqlite:///{self.settings.data_dir / 'mlflow.db'}")
        address = f"http://{LOOPBACK}:{self.settings.api_port}/v1/users/nobody/features"
        deadline = time.monotonic() + UP_WITHIN_S
        while not _answers(address):
            if self._api.poll() is not None or time.monotonic() > deadline:
                raise NotUp("`python -m serving` does not answer with features.")
            time.sleep(0.1)

    def heal(self) -> None:
        """Start whatever is missing, without waiting until folds and archive are ready. Raises NotUp."""
        if not (self.alive("redis") and self.alive("kafka")):
            self._run("stack.embedded")
        if all(process.poll() is not None for process in self._starting):
            self._starting = [self._spawn(*module) for module in self._stream]

    def heal_wholly(self) -> None:
        """Start whatever is missing and wait until all are ready. Raises NotUp."""
        self._await_started()
        self.await_materialized()
        self._run("stack.embedded")
        for module in self._stream:
            self._run(*module)

    def begin_materialize(self, view: str = "") -> bool:
        """Begin `make materialize`, or that of one view, whether it succeeds or not; False while one still runs."""
        if self._materializing is not None and self._materializing.poll() is None:
            return False
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
        arguments = ("materialize-incremental", now, "--views", view) if view else ("materialize",)
        self._materializing = self._spawn("stack.feast_cli", *arguments)
        return True

    def stop(self) -> None:
        """End everything that was started."""
        self._await_started()
        self._end_materialize()
        if self._api is not None:
            self._api.terminate()
            self._api.wait(UP_WITHIN_S)
        self._run("stack.stop")

    def alive(self, name: str) -> psutil.Process | None:
        with suppress(OSError, ValueError, psutil.NoSuchProcess):
            process = psutil.Process(int((self.settings.run_dir / f"{name}.pid").read_text()))
            return process if process.status() != psutil.STATUS_ZOMBIE else None
        return None

    def signal(self, names: Sequence[str], number: signal.Signals) -> list[str]:
        """Send a signal to the named processes that live; their names. A killed one is gone when this returns."""
        found = {name: process for name in names if (process := self.alive(name))}
        for process in found.values():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        if number == signal.SIGKILL:
            psutil.wait_procs(found.values(), timeout=10)
        return list(found)

    def forget_store(self) -> None:
        """Delete the files of a store that is dead."""
        shutil.rmtree(self.settings.data_dir / "redis", ignore_errors=True)

    def appended(self) -> tuple[Path, int]:
        """The file that the store appends to, and its size in bytes."""
        files = (self.settings.data_dir / "redis").glob("appendonlydir/*.incr.aof")
        newest = max(files, key=lambda path: path.stat().st_mtime)
        return newest, newest.stat().st_size

    def await_materialized(self) -> None:
        """Wait for the end of a materialize that was begun."""
        if self._materializing is not None:
            self._materializing.wait(UP_WITHIN_S)

    @property
    def _stream(self) -> list[tuple[str, ...]]:
        start = ("stack.services", "stream", "--only")
        return [(*start, "fold", "--folds", str(len(self.folds))), (*start, "archive")]

    def _spawn(self, *module: str, **environment: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", *module]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, cwd=PROJECT_ROOT, env=self._environment | environment, stdout=quiet, stderr=quiet)

    def _await_started(self) -> None:
        for process in self._starting:
            process.wait(UP_WITHIN_S)

    def _end_materialize(self) -> None:
        """It is none of the stack's processes, and may have been stopped by a signal."""
        with suppress(psutil.NoSuchProcess):
            if self._materializing is not None:
                for process in psutil.Process(self._materializing.pid).children(recursive=True):
                    process.kill()
                self.await_materialized()

    def _run(self, *module: str) -> None:
        command = [sys.executable, "-m", *module]
        done = subprocess.run(
            command, cwd=PROJECT_ROOT, env=self._environment, capture_output=True, text=True, check=False, timeout=UP_WITHIN_S
        )
        if done.returncode:
            raise NotUp(f"`python -m {' '.join(module)}` failed: {(done.stderr or done.stdout).strip()[-800:]}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:  # nobody there, or an error for an answer
        return False


def free_ports(count: int) -> int:
    """The first of `count` neighbouring ports of loopback that nobody listens on."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        first = random.randrange(PORTS.start, PORTS.stop - count)
        if all(_is_free(first + number) for number in range(count)):
            return first
    raise NotUp(f"There are no {count} free ports in a row from {PORTS.start} to {PORTS.stop}.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
