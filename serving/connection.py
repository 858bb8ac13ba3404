"""One connection of the HTTP server: a request must arrive in time, and what is no HTTP is a problem like any other.

uvicorn waits for ever for a request that has begun, so whoever opens connections and says nothing could take all that the
process may have; it keeps a head of any size, and its own refusals are plain text without the service's headers.
"""

import asyncio
import re
import secrets
from typing import Any

import orjson
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.guard import SECURITY_HEADERS
from serving.problems import MEDIA_TYPE, Problem

ARRIVES_WITHIN_S = 20.0
"""How long a request may take from its first byte, the first one from the connection on, to its last."""

LARGEST_HEAD_BYTES = 65_536
"""What may come of request line and headers after the packet that they begin in."""

_UPGRADE = re.compile(rb"\nupgrade:", re.IGNORECASE)


def server_config(app: Any, **options: Any) -> uvicorn.Config:
    """How the service is served, with further `options` of uvicorn. It speaks no WebSocket: an upgrade is ignored."""
    return uvicorn.Config(app, http=Connection, ws="none", access_log=False, log_config=None, server_header=False, **options)


class Connection(HttpToolsProtocol):
    """uvicorn's, with a deadline for what was begun and an end to the head's size."""

    _deadline: asyncio.TimerHandle | None = None
    _is_head = True
    _is_whole = True  # nothing is under way
    _head_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._await_rest()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._is_head, self._is_whole, self._head_bytes = True, False, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()  # raises where the path is none
        self._is_head = False

    def on_message_complete(self) -> None:
        self._is_whole = True
        self._forget_deadline()
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        request = self.scope
        super().data_received(_without_upgrade(data))
        if self._is_whole or self.transport.is_closing():
            return
        self._await_rest()
        if self._is_head and self.scope is request:
            self._head_bytes += len(data)
        if self._head_bytes > LARGEST_HEAD_BYTES:
            what = f"Request line and headers are larger than {LARGEST_HEAD_BYTES:,} bytes"
            self._refuse(Problem(431, "head-too-large", what, "request head", "Send fewer or shorter headers."))

    def send_400_response(self, _: str) -> None:
        remedy = "Send HTTP/1.1, with a known method and a path whose characters are percent-encoded."
        self._refuse(Problem(400, "invalid-http", "This is no valid HTTP request", "connection", remedy))

    def _await_rest(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(ARRIVES_WITHIN_S, self._too_slow)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self.flow.read_paused:  # it is the service that has not read on
            self._await_rest()
            return
        if self._is_whole:  # nothing was asked, so there is nothing to answer
            self.transport.close()
            return
        what = f"The request did not arrive within {ARRIVES_WITHIN_S:g} s"
        self._refuse(Problem(408, "too-slow", what, "connection", "Send the whole request at once."))

    def _refuse(self, problem: Problem) -> None:
        """Say so where that cannot be taken for another request's answer, and close."""
        if self._is_head or self._is_whole:  # the cycle is the request's before
            is_its_turn = self.cycle is None or self.cycle.response_complete
        else:
            is_its_turn = not self.cycle.response_started
        if is_its_turn:
            self.transport.write(_on_the_wire(problem))
        self.transport.close()


def _without_upgrade(data: bytes) -> bytes:
    """The same bytes with another name for the header Upgrade, for whose sake the parser would throw the body away.

    Java's HttpClient sends that header with its first request to an http:// address, a POST with its body included.
    """
    if b"pgrade:" in data or b"PGRADE:" in data:
        return _UPGRADE.sub(b"\nIgnored:", data)
    return data


def _on_the_wire(problem: Problem) -> bytes:
    body = problem.body()
    content = orjson.dumps(body)
    headers = {
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(content)),
        "X-Request-Id": secrets.token_hex(16),
        **SECURITY_HEADERS,
        "Connection": "close",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {problem.status} {body['title']}\r\n{head}\r\n".encode() + content
