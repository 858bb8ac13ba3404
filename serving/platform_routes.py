"""What a person watching asks under /v1: a user's recent events, the models, the platform's status, what happens now."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from plumbline import FeatureStore
from serving.applied import Applied
from serving.keys import require_scope
from serving.live import Live
from serving.messages import EventsResponse, ModelsResponse, StatusResponse
from serving.openapi import error_responses
from serving.parameters import no_query, user_id_of
from serving.reading import Reading
from serving.status import Status
from serving.timeline import timeline

EVENT_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "Events `decision` and `alert`, data in JSON", "content": {"text/event-stream": {}}}
}


@dataclass(frozen=True)
class Platform:
    """What answers a person watching; built once by create_app. cards: the body of /v1/models."""

    store: FeatureStore
    reading: Reading
    applied: Applied
    state: Status
    listeners: Live
    cards: Callable[[], dict[str, Any]]

    async def events(self, request: Request, user_id: str) -> Response:
        require_scope(request.state.api_key, "read")
        no_query(request)
        user = user_id_of(request, user_id)
        windowed = await self.reading.run(lambda: self.applied.user_views.windowed)
        return _json(await self.reading.run(timeline, self.store, windowed, user))

    async def models(self, request: Request) -> Response:
        require_scope(request.state.api_key, "read")
        return _json(await self.reading.run(self.cards))

    async def status(self, request: Request) -> Response:
        require_scope(request.state.api_key, "read")
        return _json(await self.reading.run(self.state.check))

    async def live(self, request: Request) -> Response:
        require_scope(request.state.api_key, "read")
        self.listeners.require_room()
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self.listeners.listen(), media_type="text/event-stream", headers=headers)


def platform_router(platform: Platform) -> APIRouter:
    """The routes under /v1 that decide nothing; all need the scope read."""
    router = APIRouter(prefix="/v1")
    router.get(
        "/users/{user_id:any_text}/events",
        response_model=EventsResponse,
        responses=error_responses(401, 403, 422, 429, 500, 503),
        summary="A user's recent events, as the online store still holds them",
    )(platform.events)
    router.get(
        "/models",
        response_model=ModelsResponse,
        responses=error_responses(401, 403, 429, 500, 503),
        summary="The models: what they read, how they were judged, which versions there were",
    )(platform.models)
    router.get(
        "/status",
        response_model=StatusResponse,
        responses=error_responses(401, 403, 429, 500, 503),
        summary="Folds, positions, lag and the last parity run",
    )(platform.status)
    router.get(
        "/live",
        response_class=StreamingResponse,
        responses={**EVENT_STREAM, **error_responses(401, 403, 429, 503)},
        summary="Decisions and alerts as they happen (server-sent events); begins with the last fifty",
    )(platform.live)
    return router


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content, default=str), media_type="application/json")
