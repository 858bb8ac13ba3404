"""The decision log: every score to the topic `decisions`, beside the answer and never in its way.

A decision waits in memory for milliseconds, then it is in the topic or, while Kafka is away, in a file under
$DATA_DIR/spool; the file is sent as soon as Kafka is back. Delivery is at least once: request_id tells repeats.
"""

import queue
import threading
import time
from typing import Any, Protocol

import orjson

from serving.logs import event
from serving.metrics import Metrics
from serving.spool import Spool

MOST_WAITING = 20_000
LARGEST_BATCH = 2_000
SPOOLED_BETWEEN = 200
"""How many of the spool are sent at a time while new decisions keep coming, which must not wait for all of it."""
IDLE_S = 0.25
GATHER_S = 0.02
"""How long more is waited for once something waits: a record at a time would cost a wake-up and a write each."""

CLOSE_WITHIN_S = 15


class Topic(Protocol):
    """Where decisions go."""

    def send(self, lines: list[bytes]) -> list[bytes]:
        """Send records (JSON objects with user_id) and wait for them; returns those that were not acknowledged."""

    def close(self) -> None: ...


class DecisionLog:
    """Takes decisions from the event loop without blocking; one thread delivers them."""

    def __init__(self, topic: Topic, spool: Spool, metrics: Metrics) -> None:
        self._topic, self._spool, self._metrics = topic, spool, metrics
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._reachable, self._closing = True, False

    def start(self) -> None:
        self._thread.start()

    def put(self, decision: dict[str, Any]) -> None:
        """Log a decision; when memory is full it is dropped and counted, because the answer must not wait."""
        try:
            self._queue.put_nowait(decision)
        except queue.Full:
            self._metrics.logged.labels("dropped").inc()

    def close(self) -> None:
        """Deliver what waits, to the topic or else to the spool."""
        self._closing = True
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join(CLOSE_WITHIN_S)
        self._topic.close()

    def _run(self) -> None:
        closing = False
        while not closing:
            waiting = self._take()
            closing = None in waiting
            decisions = [decision for decision in waiting if decision is not None]
            self._metrics.log_backlog.set(self._queue.qsize())
            if decisions:
                self._deliver([orjson.dumps(decision, default=str) for decision in decisions])
            if not closing and (self._reachable or not decisions):
                self._send_spooled(SPOOLED_BETWEEN if decisions else LARGEST_BATCH)
            self._metrics.spool_bytes.set(self._spool.waiting_bytes)

    def _take(self) -> list[dict[str, Any] | None]:
        """What waits, at most LARGEST_BATCH; empty after IDLE_S without anything."""
        taken: list[dict[str, Any] | None] = []
        try:
            taken.append(self._queue.get(timeout=IDLE_S))
            time.sleep(0 if self._closing else GATHER_S)
            while len(taken) < LARGEST_BATCH:
                taken.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return taken

    def _deliver(self, lines: list[bytes]) -> None:
        undelivered = self._send(lines)
        kept = self._spool.append(undelivered)
        self._metrics.logged.labels("spooled").inc(kept)
        self._metrics.logged.labels("dropped").inc(len(undelivered) - kept)

    def _send_spooled(self, most: int) -> None:
        lines = self._spool.first(most)
        if lines:
            undelivered = self._send(lines)
            if not undelivered:
                self._spool.drop(lines)

    def _send(self, lines: list[bytes]) -> list[bytes]:
        undelivered = self._topic.send(lines)
        self._metrics.logged.labels("sent").inc(len(lines) - len(undelivered))
        if bool(undelivered) == self._reachable:
            self._reachable = not undelivered
            event("decisions reach Kafka" if self._reachable else "decisions are spooled: Kafka is away")
        return undelivered
