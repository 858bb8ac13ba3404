"""What a person watching is told: recent events, models, status, and decisions as they happen."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from free_ports import free_port
from serving_lab import Service, applied_store, await_ready, both_models, lab_settings, payment, push, running

from serving.messages import EventsResponse, ModelsResponse, StatusResponse


@pytest.fixture(scope="module")
def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, own_store: str, now: datetime) -> Iterator[Service]:
    data_dir = tmp_path_factory.mktemp("platform")
    settings = lab_settings(data_dir, own_store, FOLD_METRICS_PORT=str(free_port()))
    store = applied_store(settings)
    push(store, [payment("vera", "v1", now - timedelta(minutes=8), 1_200, offset=0), payment("vera", "v2", now, 300, offset=1)])
    settings.reports_path.mkdir(parents=True)
    gate = {"promoted": True, "reason": "better than guessing"}
    report = {"models": {"transaction_fraud": {"trained": True, "gate": gate}}}
    (settings.reports_path / "train.json").write_text(json.dumps(report))
    with running(settings, store, both_models(data_dir, store)) as running_service:
        await_ready(running_service.client)
        yield running_service


def test_a_users_recent_events_are_told_by_view_in_order_of_time(service: Service, now: datetime):
    answer = service.client.get("/v1/users/vera/events").json()

    EventsResponse.model_validate(answer)
    paid = answer["views"]["user_payments"]
    assert [event["columns"]["payment_cents"] for event in paid["events"]] == [1_200, 300]
    assert paid["events"][1]["columns"]["small_payment_id"] is True
    assert "small_payment_id" not in paid["events"][0]["columns"]
    assert datetime.fromisoformat(paid["events"][1]["event_timestamp"]) == now
    assert paid["since"] <= paid["events"][0]["event_timestamp"]
    assert answer["known"] is True


def test_a_user_without_events_has_none(service: Service):
    answer = service.client.get("/v1/users/nobody/events").json()

    assert answer["known"] is False
    assert answer["views"]["user_payments"] == {"since": None, "events": []}


def test_a_model_has_a_card_with_what_it_reads_and_what_the_gate_said(service: Service):
    answer = service.client.get("/v1/models").json()

    ModelsResponse.model_validate(answer)
    card = next(card for card in answer["models"] if card["name"] == "transaction_fraud")
    assert card["served"]["version"] == "1"
    assert "user_payments__payment_id_count_1h" in card["served"]["features"]
    assert card["last_training"]["gate"]["reason"] == "better than guessing"


def test_the_status_tells_each_views_positions_and_that_no_fold_answers(service: Service):
    answer = service.client.get("/v1/status").json()

    StatusResponse.model_validate(answer)
    assert answer["store"] == "ok"
    assert answer["views"]["user_payments"]["topic"] == "transactions"
    assert answer["folds"] == []
    assert answer["parity"] is None


def test_a_listener_is_told_of_a_decision_made_before_and_of_one_made_while_it_listens(service: Service):
    service.score({"user_id": "before", "transaction": {"amount_cents": 100}})

    with service.client.stream("GET", "/v1/live", timeout=10) as listening:
        told = decisions(listening)
        first = next(decision for decision in told if decision["user_id"] == "before")
        service.score({"user_id": "during", "transaction": {"amount_cents": 200}})
        second = next(decision for decision in told if decision["user_id"] == "during")

    assert listening.headers["content-type"].startswith("text/event-stream")
    assert first["decision"] == "approve"
    assert second["features"]["transaction_context__amount_cents"] == 200


def decisions(listening: httpx.Response) -> Iterator[dict]:
    for line in listening.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))
