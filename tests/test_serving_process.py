"""`python -m serving` as it is run: what it refuses to do, how it starts, and that it ends when told."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from free_ports import free_port
from serving_lab import NOBODY_LISTENS, applied_store, await_ready, lab_settings, wait_until, write_model

from feature_repo.settings import PROJECT_ROOT
from pipelines.training import tracking
from serving.__main__ import bound_socket
from serving.binding import ContractMismatch
from serving.champions import ChampionFetch
from serving.service import serve

SECRET = "a-secret-key-1234"


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, own_store: str) -> dict[str, str]:
    """The environment of a service whose store is applied and whose transaction model has a champion."""
    data_dir = tmp_path_factory.mktemp("process")
    environment = {
        "DATA_DIR": str(data_dir),
        "REDIS_CONNECTION_STRING": own_store,
        "KAFKA_BOOTSTRAP_SERVERS": NOBODY_LISTENS,
        "MLFLOW_TRACKING_URI": f"sqlite:///{data_dir / 'mlflow.db'}",
        "API_PORT": str(free_port()),
        "API_KEYS": SECRET,
    }
    settings = lab_settings(data_dir, environment["REDIS_CONNECTION_STRING"], **environment)
    register(settings, applied_store(settings), data_dir / "model")
    settings.reports_path.mkdir()
    report = {"models": {"account_risk": {"trained": False, "reason": "only 2 accounts with fraud"}}}
    (settings.reports_path / "train.json").write_text(json.dumps(report))
    return environment


def register(settings: Any, store: Any, folder: Path, **changes: Any) -> None:
    client, experiment = tracking.open_client(settings)
    write_model(folder, "transaction_fraud", store, **changes)
    run = tracking.log_run(client, experiment, "run", params={}, metrics={}, tags={}, folder=folder)
    tracking.set_champion(client, "transaction_fraud", tracking.register(client, "transaction_fraud", run, {}))


@contextmanager
def process(environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-m", "serving"]
    with log.open("w") as output:
        started = subprocess.Popen(
            command, cwd=PROJECT_ROOT, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield started
        finally:
            started.kill()
            started.wait()


def listens(environment: dict[str, str], started: subprocess.Popen, log: Path) -> bool:
    assert started.poll() is None, log.read_text()
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(environment["API_PORT"]))) == 0


def test_it_starts_scores_explains_what_it_cannot_and_ends_when_told(registered: dict[str, str], tmp_path: Path):
    log = tmp_path / "log"
    address = f"http://127.0.0.1:{registered['API_PORT']}"
    with (
        process(registered, log) as started,
        httpx.Client(base_url=address, headers={"X-API-Key": SECRET}, timeout=10) as client,
    ):
        wait_until(lambda: listens(registered, started, log), within_s=180)
        await_ready(client)
        scored = client.post("/v1/score", json={"user_id": "anna", "transaction": {"amount_cents": 10}})
        account = client.post("/v1/score", json={"user_id": "anna"})
        memory_kb = int(Path(f"/proc/{started.pid}/status").read_text().split("VmRSS:")[1].split()[0])
        started.send_signal(signal.SIGTERM)
        ended = started.wait(20)

    assert scored.status_code == 200
    assert scored.json()["model"] == {"name": "transaction_fraud", "version": "1"}
    assert account.status_code == 422
    assert "only 2 accounts with fraud" in account.json()["detail"]
    assert ended == 0
    assert memory_kb < 500_000
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert scored.headers["x-request-id"] in {line.get("request_id") for line in lines}
    assert SECRET not in log.read_text()
    spooled = (Path(registered["DATA_DIR"]) / "spool" / "decisions.jsonl").read_text()
    assert scored.json()["request_id"] in spooled


def test_it_does_not_start_on_features_that_the_champion_was_not_trained_on(registered: dict[str, str], tmp_path: Path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    settings = lab_settings(tmp_path, registered["REDIS_CONNECTION_STRING"], MLFLOW_TRACKING_URI=uri)
    register(settings, applied_store(settings), tmp_path / "model", definition_hash="feedfacefeedface")
    listener = bound_socket("127.0.0.1", 0)

    with pytest.raises(ContractMismatch, match=r"feedfacefeedface.*make train"):
        serve(settings, listener, ChampionFetch(uri, tmp_path / "models"), started=0.0)

    with socket.socket() as probe:
        assert probe.connect_ex(listener.getsockname()) != 0  # nobody ever listened
    listener.close()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"API_HOST": "0.0.0.0", "API_KEYS": ""}, "Set API_KEYS, or API_HOST=127.0.0.1"),
        ({"API_KEYS": "robot:fly:sha256=" + "0" * 64}, "Entry 1 of API_KEYS"),
        ({"API_PORT": "none"}, "API_PORT='none'"),
    ],
)
def test_it_refuses_an_unsafe_or_unreadable_setting_at_once(
    registered: dict[str, str], tmp_path: Path, changed: dict[str, str], said: str
):
    log = tmp_path / "log"

    with process({**registered, **changed}, log) as started:
        ended = started.wait(60)

    assert ended == 1
    assert log.read_text().count("\n") == 1
    assert said in log.read_text()


def test_it_refuses_a_port_in_use_and_names_the_setting(registered: dict[str, str], tmp_path: Path):
    log = tmp_path / "log"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with process({**registered, "API_PORT": str(taken.getsockname()[1])}, log) as started:
            ended = started.wait(60)

    assert ended == 1
    assert "API_PORT" in log.read_text()
