"""The running service: the store, the models bound to it, the decision log and the HTTP server."""

import socket
import time

import uvicorn

from feature_repo import open_store
from feature_repo.settings import Settings
from serving import logs
from serving.app import create_app
from serving.binding import bind
from serving.champions import ChampionFetch
from serving.connection import server_config
from serving.decisions import DecisionLog
from serving.metrics import Metrics
from serving.model_file import Model
from serving.spool import Spool
from serving.topic import DecisionTopic
from serving.traces import tracer_to

GRACE_S = 5
"""How long requests in flight may take to finish after SIGTERM."""


def serve(settings: Settings, listener: socket.socket, fetching: ChampionFetch, started: float) -> None:
    """Serve on `listener` until stopped; `started` is the perf_counter of the process' start, for the log.

    Raises ContractMismatch, ModelFileError or ChampionError, all before anything listens.
    """
    store = open_store(settings)
    models = bind(store, fetching.result(), settings.reports_path / "train.json")
    metrics = Metrics()
    tracer = tracer_to(settings.otlp_endpoint)
    app = create_app(settings, store, models, decision_log(settings, metrics), metrics, settings.mlflow_tracking_uri, tracer)
    logs.event(
        "listening",
        address=f"http://{settings.api_host}:{settings.api_port}",
        models={name: model.version if isinstance(model, Model) else model for name, model in models.items()},
        seconds=round(time.perf_counter() - started, 2),
    )
    uvicorn.Server(server_config(app, timeout_graceful_shutdown=GRACE_S)).run(sockets=[listener])


def decision_log(settings: Settings, metrics: Metrics) -> DecisionLog:
    """The decision log to the settings' broker, spooling below the data directory."""
    spool = Spool(settings.data_dir / "spool" / "decisions.jsonl")
    return DecisionLog(DecisionTopic(settings.kafka_bootstrap_servers), spool, metrics)
