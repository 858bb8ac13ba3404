"""Around every request: an id, the key and its rate before the body is read, headers, the metric and the log line."""

import logging
import random
import time
from collections.abc import MutableMapping
from typing import Any

from opentelemetry.trace import SpanKind, Tracer
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.keys import Keyring
from serving.logs import LOGGER
from serving.metrics import Metrics, method_label
from serving.problems import Problem, internal
from serving.rate_limits import RateLimits
from serving.traces import SILENT, parent_of

PROTECTED = "/v1"
CLIENT_GONE = 499
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "Cache-Control": "no-store",
}
_HEADERS = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]


class Guard:
    """ASGI middleware; `scope["state"]` carries request_id, api_key and started (perf_counter seconds)."""

    def __init__(self, app: ASGIApp, keyring: Keyring, limits: RateLimits, metrics: Metrics, tracer: Tracer = SILENT) -> None:
        self._app, self._keyring, self._limits, self._metrics, self._tracer = app, keyring, limits, metrics, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["request_id"], state["started"] = f"{random.getrandbits(128):032x}", time.perf_counter()
        answer = _Answer(send, state["request_id"])
        try:
            if self._tracer is SILENT:
                await self._answer(scope, receive, answer)
            else:
                await self._traced(scope, receive, answer)
        finally:
            self._record(scope, answer.status)

    async def _traced(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        method, parent = method_label(scope["method"]), parent_of(Headers(scope=scope))
        with self._tracer.start_as_current_span(method, parent, SpanKind.SERVER) as span:
            await self._answer(scope, receive, answer)
            route = route_template(scope)
            span.update_name(f"{method} {route}")
            span.set_attribute("http.request.method", method)
            span.set_attribute("http.route", route)
            span.set_attribute("http.response.status_code", answer.status or 0)
            span.set_attribute("plumbline.request_id", scope["state"]["request_id"])

    async def _answer(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        try:
            if is_protected(scope["path"]):
                key = self._keyring.authenticate(Headers(scope=scope))
                scope["state"]["api_key"] = key
                self._limits.take(key)
            await self._app(scope, receive, answer)
        except Problem as problem:
            await problem.response()(scope, receive, answer)
        except ClientDisconnect:
            answer.status = CLIENT_GONE
        except Exception:  # the boundary of the process: logged with its trace, answered as 500
            LOGGER.exception("request failed", extra={"fields": {"request_id": scope["state"]["request_id"]}})
            if answer.status is not None:
                raise
            await internal(scope["state"]["request_id"]).response()(scope, receive, answer)

    def _record(self, scope: Scope, status: int | None) -> None:
        seconds = time.perf_counter() - scope["state"]["started"]
        route, method = route_template(scope), method_label(scope["method"])
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.latency.labels(route).observe(seconds)
        if LOGGER.isEnabledFor(logging.INFO):
            LOGGER.info("request", extra={"fields": _log_fields(scope, method, route, status, seconds)})


class _Answer:
    """The ASGI send that adds headers and remembers the status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._request_id = send, request_id
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = message.get("headers", ())
            names = {name.lower() for name, _ in given}
            further = [header for header in _HEADERS if header[0] not in names]
            message["headers"] = [*given, (b"x-request-id", self._request_id.encode()), *further]
        await self._send(message)


def is_protected(path: str) -> bool:
    """Whether a path needs a key: everything under /v1."""
    return path == PROTECTED or path.startswith(PROTECTED + "/")


def route_template(scope: MutableMapping[str, Any]) -> str:
    """The route's template, such as /v1/users/{user_id}/features; 'unmatched' where no route is meant."""
    return getattr(scope.get("route"), "path_format", None) or getattr(scope.get("route"), "path", None) or "unmatched"


def _log_fields(
    scope: Scope, method: str, route: str, status: int | None, seconds: float
) -> dict[str, str | int | float | None]:
    key = scope["state"].get("api_key")
    return {
        "request_id": scope["state"]["request_id"],
        "method": method,
        "route": route,
        "status": status,
        "latency_ms": round(seconds * 1e3, 2),
        "key": key.name if key is not None else None,
    }
