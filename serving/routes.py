"""The API: what each path reads, whom it asks and what it answers."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from plumbline import AsOfTooOld
from serving.applied import Applied
from serving.batching import Batching
from serving.bodies import read_body
from serving.decisions import DecisionLog
from serving.instants import format_instant
from serving.keys import require_scope
from serving.live import Live
from serving.messages import BatchRequest, BatchResponse, FeaturesResponse, ScoreRequest, ScoreResponse
from serving.metrics import Metrics
from serving.openapi import error_responses, request_body
from serving.parameters import AsOfParameter, instant_asked, user_id_of
from serving.problems import Problem, unprocessable
from serving.reading import AWAY, Reading
from serving.scoring import Scored, Scorer, now_utc

SCORE = "/v1/score"
BATCH_STEP = 20
"""Requests of a batch that share one read: a large batch neither holds a thread for long nor misses a deadline."""


@dataclass(frozen=True)
class Api:
    """What answers under /v1 about users; built once by create_app. degrade: a single score is given without the store."""

    store: Any
    scorer: Scorer
    batching: Batching
    reading: Reading
    decisions: DecisionLog
    applied: Applied
    live: Live
    metrics: Metrics
    degrade: bool

    async def score(self, request: Request) -> Response:
        require_scope(request.state.api_key, "score")
        self.batching.require_room()
        body = await read_body(request, ScoreRequest)
        self.scorer.model_for(body)
        try:
            scored = await self.batching.score(body, request.state.request_id)
        except AsOfTooOld as error:
            raise _too_old(error, "transaction.event_timestamp") from None
        except Problem as problem:
            if not self.degrade or problem.kind not in AWAY:
                raise
            scored = self.scorer.without_history(body, request.state.request_id, now_utc())
        self._log(request, [scored])
        return _json(scored.response)

    async def score_batch(self, request: Request) -> Response:
        require_scope(request.state.api_key, "score")
        body = await read_body(request, BatchRequest)
        identifiers = [f"{request.state.request_id}-{number}" for number in range(len(body.requests))]
        scored = await self._scored(body.requests, identifiers, now_utc())
        self._log(request, scored)
        return _json({"responses": [answer.response for answer in scored]})

    async def features(self, request: Request, user_id: str, as_of_text: AsOfParameter = None) -> Response:
        require_scope(request.state.api_key, "read")
        user, at = user_id_of(request, user_id), instant_asked(request)
        views, rows = self.applied.user_views, [{"user_id": user}]
        try:
            answer = (await self.reading.run(self.store.read_online, views.features, rows, at))[0]
        except AsOfTooOld as error:
            raise _too_old(error, "as_of") from None
        self.metrics.overflows.inc(len(answer.overflows))
        return _json(
            {
                "user_id": user,
                "known": views.know(answer.found),
                "as_of": format_instant(answer.as_of),
                "positions": answer.positions,
                "features": answer.features,
            }
        )

    async def _scored(self, bodies: Sequence[ScoreRequest], identifiers: Sequence[str], now: datetime) -> list[Scored]:
        """Score a batch, all of it or nothing."""
        for body in bodies:
            self.scorer.model_for(body)
        scored: list[Scored] = []
        try:
            for start in range(0, len(bodies), BATCH_STEP):
                chosen = slice(start, start + BATCH_STEP)
                scored += await self.reading.run(self.scorer.score, bodies[chosen], identifiers[chosen], now)
        except AsOfTooOld as error:
            raise _too_old(error, "transaction.event_timestamp") from None
        return scored

    def _log(self, request: Request, scored: Sequence[Scored]) -> None:
        """Log what was decided, and tell those who listen."""
        latency_ms = (time.perf_counter() - request.state.started) * 1e3
        for answer in scored:
            record = answer.log_record(latency_ms)
            self.decisions.put(record)
            self.live.tell("decision", record)


def api_router(api: Api) -> APIRouter:
    """The routes under /v1 that decide, and the features that decisions rest on."""
    router = APIRouter(prefix="/v1")
    router.post(
        "/score",
        response_model=ScoreResponse,
        responses=error_responses(401, 403, 413, 415, 422, 429, 500, 503),
        openapi_extra=request_body(ScoreRequest),
        summary="Score a transaction, or without one the user's account",
    )(api.score)
    router.post(
        "/score/batch",
        response_model=BatchResponse,
        responses=error_responses(401, 403, 413, 415, 422, 429, 500, 503),
        openapi_extra=request_body(BatchRequest),
        summary="Score up to 1,000 requests, in the order given, or refuse them all",
    )(api.score_batch)
    router.get(
        "/users/{user_id:any_text}/features",
        response_model=FeaturesResponse,
        responses=error_responses(401, 403, 422, 429, 500, 503),
        summary="A user's features now, or as of an instant",
    )(api.features)
    return router


def _too_old(error: Exception, where: str) -> Exception:
    remedy = "Ask for a later instant, or compute it from the log with get_historical_features."
    return unprocessable("as-of-too-old", str(error), where, remedy)


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content, default=str), media_type="application/json")
