"""The load: requests leave at instants fixed beforehand, and latency counts from those instants.

A generator that waits for answers before it sends more hides every pause of the server (coordinated omission). Here a request
that finds no free connection waits, and its wait is part of its latency.

    python -m serving.bench.open_loop < spec.json > result.json
"""

import asyncio
import json
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

CONNECTIONS = 200
LATE_S = 10.0
"""How long after the last request answers are waited for."""


@dataclass(frozen=True)
class Load:
    """What is sent: bodies in turn to host:port/path, `rate` a second for `seconds`; each `keep`-th answer is given back."""

    host: str
    port: int
    path: str
    rate: float
    seconds: float
    bodies: list[str]
    keep: int


class OpenLoop:
    """One run; latencies in seconds from the intended instant, nan where no answer came."""

    def __init__(self, load: Load) -> None:
        self._load, self._count = load, int(load.rate * load.seconds)
        self.latency, self.status = [float("nan")] * self._count, [0] * self._count
        self.kept: list[tuple[int, str]] = []
        self._idle: deque[_Connection] = deque()
        self._backlog: deque[int] = deque()
        self._answered, self._done = 0, asyncio.Event()
        self._began = 0.0
        self._opening: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Send everything and wait for the answers."""
        await asyncio.gather(*(self._open() for _ in range(CONNECTIONS)))
        self._began = time.perf_counter() + 0.1
        for number in range(self._count):
            ahead = self._intended(number) - time.perf_counter()
            if ahead > 0:
                await asyncio.sleep(ahead)
            elif number % 50 == 0:
                await asyncio.sleep(0)  # behind time: answers must be read all the same
            self._send(number)
        async with asyncio.timeout(LATE_S):
            await self._done.wait()

    def answered(self, connection: "_Connection", number: int, status: int, body: bytes) -> None:
        """A connection has its answer and is free again."""
        self.latency[number], self.status[number] = time.perf_counter() - self._intended(number), status
        if number % self._load.keep == 0:
            self.kept.append((number, body.decode()))
        self._answered += 1
        if self._answered == self._count:
            self._done.set()
        self._free(connection)

    def lost(self, connection: "_Connection") -> None:
        """The server closed a connection, as it does with one that was idle for seconds: another takes its place."""
        if connection in self._idle and not self._done.is_set():
            self._idle.remove(connection)
            opening = asyncio.get_running_loop().create_task(self._open())
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: _Connection(self), self._load.host, self._load.port)
        self._free(connection)

    def _free(self, connection: "_Connection") -> None:
        if self._backlog:
            connection.ask(self._backlog.popleft(), self._request)
        else:
            self._idle.append(connection)

    def _intended(self, number: int) -> float:
        return self._began + number / self._load.rate

    def _send(self, number: int) -> None:
        if self._idle:
            self._idle.popleft().ask(number, self._request)
        else:
            self._backlog.append(number)

    def _request(self, number: int) -> bytes:
        body = self._load.bodies[number % len(self._load.bodies)].encode()
        head = f"POST {self._load.path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class _Connection(asyncio.Protocol):
    """One kept-alive connection with one request on it at a time."""

    def __init__(self, run: OpenLoop) -> None:
        self._run, self._number, self._data = run, -1, b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def ask(self, number: int, request: Any) -> None:
        self._number, self._data = number, b""
        self._transport.write(request(number))

    def connection_lost(self, _: Exception | None) -> None:
        self._run.lost(self)

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) >= length:
            self._run.answered(self, self._number, int(head[9:12]), body)


def main() -> int:
    """Run one load. 1 when answers are missing."""
    import uvloop

    run: list[OpenLoop] = []

    async def work() -> None:
        run.append(OpenLoop(Load(**json.load(sys.stdin))))
        await run[0].run()

    try:
        uvloop.run(work())
    except TimeoutError:
        print("some requests were never answered", file=sys.stderr)
    json.dump({"latency": run[0].latency, "status": run[0].status, "kept": run[0].kept}, sys.stdout)
    return 0 if all(run[0].status) else 1


if __name__ == "__main__":
    sys.exit(main())
