"""A service to ask: the real definitions in a real store, small models trained on the spot, a real HTTP server."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import lightgbm
import numpy as np
import pyarrow as pa
import uvicorn
from free_ports import free_port
from opentelemetry.trace import Tracer

from feature_repo import definitions, open_store
from feature_repo.event_schema import TRANSACTIONS
from feature_repo.row_level import add_columns
from feature_repo.settings import Settings
from serving.app import create_app
from serving.binding import Models, bind
from serving.champions import Champion
from serving.connection import server_config
from serving.decisions import DecisionLog
from serving.metrics import Metrics
from serving.spool import Spool
from serving.topic import DecisionTopic
from serving.traces import SILENT

NOBODY_LISTENS = "127.0.0.1:1"
LARGE_CENTS = 50_000
FEATURES = {
    "transaction_fraud": [
        "transaction_context__amount_cents",
        "transaction_context__country",
        "user_payments__payment_id_count_1h",
        "user_payments__payment_cents_mean_30d",
    ],
    "account_risk": ["user_payments__payment_cents_sum_1d", "user_activity__event_id_count_1d"],
}
SERVICES = {"transaction_fraud": "transaction_fraud_v1", "account_risk": "account_risk_v1"}


def lab_settings(data_dir: Path, redis: str, **variables: str) -> Settings:
    """Settings of a service of its own: no broker, no tracking server, unless said."""
    environment = {"KAFKA_BOOTSTRAP_SERVERS": NOBODY_LISTENS, "REDIS_CONNECTION_STRING": redis}
    return Settings.from_env({**environment, "DATA_DIR": str(data_dir), **variables})


def applied_store(settings: Settings) -> Any:
    """The project's own definitions, applied to a new registry under the data directory."""
    store = open_store(settings)
    store.apply(list({id(value): value for value in definitions.feast_objects().values()}.values()))
    return store


def write_model(folder: Path, name: str, store: Any, **changes: Any) -> Path:
    """A model folder as training writes it: large amounts (or sums) are fraud, nothing else matters."""
    features = FEATURES[name]
    random = np.random.default_rng(7)
    rows = random.uniform(0, 2 * LARGE_CENTS, (2_000, len(features)))
    categories = {"transaction_context__country": ["DE", "FR"]} if name == "transaction_fraud" else {}
    for feature in categories:
        rows[:, features.index(feature)] = random.integers(0, 2, len(rows))
    fraud = (rows[:, 0] > LARGE_CENTS).astype(float)
    booster = lightgbm.train(
        {"objective": "binary", "num_leaves": 7, "num_threads": 1, "verbosity": -1, "seed": 7},
        lightgbm.Dataset(rows, fraud),
        num_boost_round=20,
    )
    contract = {
        "model": name,
        "kind": "lightgbm",
        "feature_service": SERVICES[name],
        "features": features,
        "categories": categories,
        "thresholds": {"review": 0.3, "decline": 0.7},
        "calibration": None,
        "definition_hash": store.definition_hash(SERVICES[name]),
        "base_rate": 0.5,
        "trained_until": "2026-01-01T00:00:00+00:00",
        **changes,
    }
    folder.mkdir(parents=True)
    booster.save_model(folder / "booster.txt")
    (folder / "contract.json").write_text(json.dumps(contract), encoding="utf-8")
    return folder


def both_models(folder: Path, store: Any) -> Models:
    """A champion of each name, version 1, bound to the applied definitions."""
    champions = {name: Champion(name, "1", write_model(folder / name, name, store)) for name in FEATURES}
    return bind(store, champions, folder / "train.json")


def payment(user_id: str, event_id: str, at: datetime, cents: int, offset: int | None = None) -> dict[str, Any]:
    """One payment of the log; with an offset it is a record of partition 0, known one second after it happened."""
    return {
        "event_id": event_id,
        "event_timestamp": at,
        "created_timestamp": at + timedelta(seconds=1),
        "source_partition": None if offset is None else 0,
        "source_offset": offset,
        "user_id": user_id,
        "merchant_id": "bakery",
        "event_type": "payment",
        "country": "DE",
        "amount_cents": cents,
    }


def push(store: Any, events: list[dict[str, Any]]) -> None:
    """Give the store events of the log, row-level columns included."""
    table = add_columns(pa.Table.from_pylist(events, schema=TRANSACTIONS))
    store.push("transactions", table.to_pandas(integer_object_nulls=True))


@dataclass
class Service:
    """A running service and how to ask it."""

    client: httpx.Client
    store: Any
    metrics: Metrics
    settings: Settings

    def score(self, body: object, **headers: str) -> httpx.Response:
        return self.client.post("/v1/score", json=body, headers=headers)

    def features(self, user_id: str, **query: str) -> httpx.Response:
        return self.client.get(f"/v1/users/{user_id}/features", params=query)


@contextmanager
def running(settings: Settings, store: Any, models: Models, tracer: Tracer = SILENT) -> Iterator[Service]:
    """The app behind a real HTTP server on a free port of loopback."""
    metrics = Metrics()
    topic, spool = (
        DecisionTopic(settings.kafka_bootstrap_servers),
        Spool(settings.data_dir / "spool" / "decisions.jsonl"),
    )
    app = create_app(settings, store, models, DecisionLog(topic, spool, metrics), metrics, tracer=tracer)
    port = free_port()
    server = uvicorn.Server(server_config(app, port=port, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        wait_until(lambda: server.started)
        yield Service(client, store, metrics, settings)
    server.should_exit = True
    thread.join(20)


def await_ready(client: httpx.Client, within_s: float = 90) -> None:
    """Wait until the service says that it is ready, and fail with what it says instead."""
    deadline = time.monotonic() + within_s
    while (answer := client.get("/readyz")).status_code != 200:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.05)


def wait_until(true: Callable[[], bool], within_s: float = 30) -> None:
    """Wait for something to become true, and fail when it does not."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"not so within {within_s} s: {true}"
        time.sleep(0.02)


@contextmanager
def paused(process: subprocess.Popen[bytes] | Any) -> Iterator[None]:
    """A process that hangs instead of answering."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)
