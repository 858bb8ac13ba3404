"""Putting the service together; everything it talks to is passed in."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from opentelemetry.trace import Tracer
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from feature_repo.settings import Settings
from serving.applied import Applied
from serving.batching import Batching
from serving.binding import Models
from serving.decisions import DecisionLog
from serving.front import Front
from serving.guard import Guard
from serving.key_file import KeyFile
from serving.keys import Keyring, parse_keys
from serving.live import Live
from serving.live_topics import LiveTopics
from serving.metrics import Metrics
from serving.model_cards import model_cards
from serving.model_file import Model
from serving.openapi import add_openapi, error_responses
from serving.pages import add_pages
from serving.platform_routes import Platform, platform_router
from serving.problems import Problem, of_status
from serving.rate_limits import RateLimits
from serving.readiness import Readiness
from serving.reading import Reading
from serving.refresh import Refresh
from serving.routes import SCORE, Api, api_router
from serving.scoring import Scorer
from serving.shadow import Shadow
from serving.status import Status
from serving.traces import SILENT

DESCRIPTION = "Fraud decisions from features that mean the same in training, in the stream and in the answer."


def create_app(
    settings: Settings,
    store: Any,
    models: Models,
    decisions: DecisionLog,
    metrics: Metrics | None = None,
    registry: str | None = None,
    tracer: Tracer = SILENT,
) -> FastAPI:
    """The service.

    store      plumbline.FeatureStore
    models     bound models by name, a reason where there is none (binding.bind)
    decisions  where every score is logged; started and closed with the app
    registry   MLflow's address, where new champions are looked for while the app runs; None: nowhere
    tracer     who is told of spans (traces.tracer_to)
    """
    metrics = metrics or Metrics()
    reading = Reading(metrics)
    applied = Applied(store, models)
    live = Live(LiveTopics(settings.kafka_bootstrap_servers))
    folder = settings.data_dir / "models"
    shadow = Shadow(registry, settings.shadow_alias, store, folder / "shadow", metrics)
    scorer = Scorer(store, models, applied, metrics, shadow, tracer)
    refresh = Refresh(registry, models, store, settings.reports_path, folder, metrics)
    readiness = Readiness(store, applied, models, reading, refresh.refused)
    background = (
        readiness.warm_up,
        lambda: metrics.freshness.run(Status(settings, store).check),
        lambda: refresh.run(applied, scorer.recorded),
        lambda: shadow.run(scorer.recorded),
    )
    app = Front(
        title="Plumbline", version="1", description=DESCRIPTION, docs_url=None, redoc_url=None,
        redirect_slashes=False, lifespan=_lifespan(background, reading, decisions, live),
    )  # fmt: skip
    further = None if settings.api_keys_file is None else KeyFile(settings.api_keys_file)
    keyring = Keyring(parse_keys(settings.api_keys), further)
    guard = partial(Guard, keyring=keyring, limits=RateLimits(settings.rate_limit_per_s), metrics=metrics, tracer=tracer)
    app.add_middleware(guard)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http_error)
    batching = Batching(scorer, reading, metrics, tracer)
    api = Api(store, scorer, batching, reading, decisions, applied, live, metrics, settings.store_away == "degrade")
    router = api_router(api)
    app.include_router(router)
    (score,) = (route for route in router.routes if isinstance(route, APIRoute) and route.path == SCORE)
    app.answer_directly(score, api.score, guard)
    cards = partial(model_cards, models, folder, settings.reports_path / "train.json")
    app.include_router(platform_router(Platform(store, reading, applied, Status(settings, store), live, cards)))
    _add_probes(app, readiness, metrics)
    add_pages(app, settings)
    add_openapi(app)
    for model in models.values():
        if isinstance(model, Model):
            metrics.model.labels(model.name, model.version).set(1)
    return app


def _lifespan(
    background: Sequence[Callable[[], Coroutine[Any, Any, None]]], reading: Reading, decisions: DecisionLog, live: Live
) -> Any:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        decisions.start()
        live.start()
        tasks = [asyncio.create_task(start()) for start in background]
        yield
        for task in tasks:
            task.cancel()
        reading.close()
        decisions.close()

    return lifespan


def _add_probes(app: FastAPI, readiness: Readiness, metrics: Metrics) -> None:
    @app.get("/healthz", summary="The process runs")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Store, models and contract are as they should", responses=error_responses(503))
    async def readyz() -> JSONResponse:
        return JSONResponse(await readiness.check())

    @app.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
    async def prometheus() -> Response:
        return Response(await asyncio.to_thread(metrics.text), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _problem(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return problem.response()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return of_status(error.status_code, request.method, request.url.path, dict(error.headers or {})).response()
