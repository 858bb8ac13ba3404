"""The busiest route without the framework around it: declared and documented as FastAPI has it, but answered at once.

Between a request and its function FastAPI walks its routes, opens two exit stacks and solves dependencies, of which
POST /v1/score has none: that took longer than reading the request and writing the answer.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send


class Front(FastAPI):
    """FastAPI, with some routes answered before everything else that it does."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._direct: dict[tuple[str, str], ASGIApp] = {}

    def answer_directly(
        self, route: APIRoute, answer: Callable[[Request], Awaitable[Response]], around: Callable[[ASGIApp], ASGIApp]
    ) -> None:
        """Have a route without parameters answered by `answer` alone; `around` must turn its exceptions into answers."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope["route"] = route
            response = await answer(Request(scope, receive))
            await response(scope, receive, send)

        self._direct |= {(method, route.path): around(app) for method in route.methods or ()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        direct = self._direct.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        await (direct or super().__call__)(scope, receive, send)
