"""Decisions and alerts as they happen, to whoever listens: server-sent events, and a slow listener holds nobody up."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

import orjson

from serving.problems import Problem, unavailable

MOST_LISTENERS = 32
MOST_BEHIND = 256
KEPT = 50
HEARTBEAT_S = 10.0
SEEN = 4_096
"""Request ids remembered, so that a decision that comes back from the topic is not told twice."""


Tell = Callable[[str, Mapping[str, Any]], None]


class Source(Protocol):
    """Where more to tell comes from, while somebody listens."""

    def start(self, tell: Tell) -> None: ...
    def stop(self) -> None: ...


class Live:
    """Tells listeners what happens; belongs to the event loop, `tell_from_thread` to any other thread."""

    def __init__(self, source: Source) -> None:
        self._listeners: set[asyncio.Queue[bytes]] = set()
        self._recent: deque[tuple[str, Mapping[str, Any]]] = deque(maxlen=KEPT)
        self._seen: deque[str] = deque(maxlen=SEEN)
        self._known: set[str] = set()
        self._source = source
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Called in the event loop, before anything is told."""
        self._loop = asyncio.get_running_loop()

    def tell(self, kind: str, record: Mapping[str, Any]) -> None:
        """Tell all listeners of a decision or an alert; a listener that is too far behind loses its oldest."""
        if not self._is_new(f"{kind} {record.get('request_id') or record.get('alert_id') or id(record)}"):
            return
        self._recent.append((kind, record))
        told = _event(kind, record) if self._listeners else b""
        for listener in self._listeners:
            if listener.full():
                listener.get_nowait()
            listener.put_nowait(told)

    def tell_from_thread(self, kind: str, record: Mapping[str, Any]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop was closed: nobody listens any more
                self._loop.call_soon_threadsafe(self.tell, kind, record)

    async def listen(self) -> AsyncIterator[bytes]:
        """What happened last, then what happens, as server-sent events; a comment when nothing does for ten seconds."""
        listener: asyncio.Queue[bytes] = asyncio.Queue(MOST_BEHIND)
        self._join(listener)
        try:
            yield b"retry: 2000\n\n" + b"".join(_event(*told) for told in self._recent)
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        yield await listener.get()
                except TimeoutError:
                    yield b": nothing happened\n\n"
        finally:
            self._leave(listener)

    def require_room(self) -> None:
        """Raise the 503 Problem when there are as many listeners as there may be."""
        if len(self._listeners) >= MOST_LISTENERS:
            raise _too_many()

    def _join(self, listener: asyncio.Queue[bytes]) -> None:
        self._listeners.add(listener)
        if len(self._listeners) == 1:
            self._source.start(self.tell_from_thread)

    def _leave(self, listener: asyncio.Queue[bytes]) -> None:
        self._listeners.discard(listener)
        if not self._listeners:
            self._source.stop()

    def _is_new(self, identity: str) -> bool:
        if identity in self._known:
            return False
        if len(self._seen) == SEEN:
            self._known.discard(self._seen[0])
        self._seen.append(identity)
        self._known.add(identity)
        return True


def _event(kind: str, record: Mapping[str, Any]) -> bytes:
    return f"event: {kind}\ndata: ".encode() + orjson.dumps(record, default=str) + b"\n\n"


def _too_many() -> Problem:
    return unavailable("overload", f"{MOST_LISTENERS} listen already", "GET /v1/live", "Close another listener, or wait.")
