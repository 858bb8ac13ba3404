"""When the store is away: an honest 503 within a second, and recovery without help."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from free_ports import free_port
from serving_lab import (
    Service,
    applied_store,
    await_ready,
    both_models,
    lab_settings,
    paused,
    payment,
    push,
    running,
    wait_until,
)

from feature_repo.settings import Settings
from stack import processes, redis_server

REQUEST = {"user_id": "anna", "transaction": {"amount_cents": 100}}


class OwnStore:
    """A Valkey that a test may stop."""

    def __init__(self, data_dir: Path) -> None:
        port = free_port()
        self._data_dir = data_dir
        self._program = redis_server.program(Settings.from_env({"DATA_DIR": str(data_dir), "REDIS_PORT": str(port)}))
        self.address = f"127.0.0.1:{port}"

    def start(self) -> None:
        processes.start(self._program, self._data_dir)
        processes.await_ready(self._program, self._data_dir)

    def stop(self) -> None:
        processes.stop([self._program.name], self._data_dir)

    @property
    def process(self) -> Any:
        return processes.running(self._program.name, self._data_dir)


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory):
    own = OwnStore(tmp_path_factory.mktemp("valkey"))
    own.start()
    yield own
    own.stop()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, valkey: OwnStore):
    data_dir = tmp_path_factory.mktemp("away")
    settings = lab_settings(data_dir, valkey.address)
    store = applied_store(settings)
    with running(settings, store, both_models(data_dir, store)) as running_service:
        await_ready(running_service.client)
        yield running_service


def assert_honest(response: httpx.Response) -> None:
    assert response.status_code == 503, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert int(response.headers["retry-after"]) >= 1
    assert response.json()["remedy"]
    assert response.elapsed.total_seconds() < 1


def ask_everything(client: httpx.Client) -> list[httpx.Response]:
    return [
        client.post("/v1/score", json=REQUEST),
        client.post("/v1/score", json={"user_id": "anna"}),
        client.post("/v1/score/batch", json={"requests": [REQUEST] * 300}),
        client.get("/v1/users/anna/features"),
    ]


def test_a_stopped_store_is_a_quick_503_and_its_return_is_noticed(service: Service, valkey: OwnStore):
    valkey.stop()
    refused = ask_everything(service.client)
    alive = service.client.get("/healthz")
    wait_until(lambda: service.client.get("/readyz").status_code == 503, within_s=1)

    valkey.start()
    returned = time.monotonic()
    await_ready(service.client, within_s=5)

    for response in refused:
        assert_honest(response)
    assert alive.status_code == 200
    assert time.monotonic() - returned < 1
    assert [response.status_code for response in ask_everything(service.client)] == [200] * 4


def test_a_score_without_the_store_may_be_allowed_and_says_that_it_knows_no_history(
    tmp_path: Path, service: Service, valkey: OwnStore
):
    settings = lab_settings(tmp_path, valkey.address, STORE_AWAY="degrade")
    at = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    transaction = {"amount_cents": 100, "merchant_id": "nowhere", "event_type": "payment", "event_timestamp": at}
    push(service.store, [payment("nora", "e-1", datetime.now(UTC) - timedelta(hours=1), 500)])

    with running(settings, service.store, both_models(tmp_path, service.store)) as lenient:
        await_ready(lenient.client)
        asked = {"user_id": "nora", "transaction": transaction, "explain": True}
        before, stranger = lenient.score(asked).json(), lenient.score(asked | {"user_id": "stranger"}).json()
        valkey.stop()
        degraded = [lenient.score(asked) for _ in range(3)]
        refused = [
            lenient.client.post("/v1/score/batch", json={"requests": [asked]}),
            lenient.client.get("/v1/users/nora/features"),
        ]
        valkey.start()
        await_ready(lenient.client, within_s=5)
        after = lenient.score(asked).json()
        metrics = lenient.client.get("/metrics").text

    assert "degraded" not in before
    assert "degraded" not in after
    assert before["known"]
    for answer in (response.json() for response in degraded):
        assert (answer["degraded"], answer["known"]) == (True, False)
        assert answer["features"] == stranger["features"]
        assert not any(answer["positions"].values())
        assert answer["reasons"]
    for response in refused:
        assert_honest(response)
    assert 'plumbline_degraded_total{model="transaction_fraud"} 3.0' in metrics
    logged = [json.loads(line) for line in (tmp_path / "spool" / "decisions.jsonl").read_bytes().splitlines()]
    assert [record.get("degraded", False) for record in logged] == [False, False, True, True, True, False]
    assert all(record["entity_row"]["user_id"] == record["user_id"] for record in logged)


def test_a_hanging_store_is_a_503_within_a_second(service: Service, valkey: OwnStore):
    with paused(valkey.process):
        refused = ask_everything(service.client)

    await_ready(service.client, within_s=5)
    for response in refused:
        assert_honest(response)
    assert service.score(REQUEST).status_code == 200


def test_what_was_refused_is_counted_by_its_cause(service: Service, valkey: OwnStore):
    with paused(valkey.process):
        service.score(REQUEST)

    await_ready(service.client, within_s=5)
    assert 'plumbline_store_failures_total{cause="' in service.client.get("/metrics").text


def test_a_service_that_starts_before_its_store_becomes_ready_with_it(tmp_path: Path, service: Service, valkey: OwnStore):
    settings = lab_settings(tmp_path, valkey.address)
    valkey.stop()

    with running(settings, service.store, both_models(tmp_path, service.store)) as early:
        waiting = early.client.get("/readyz")
        valkey.start()
        await_ready(early.client, within_s=5)

    assert waiting.status_code == 503
