"""Alerts: rules and scores over live transactions, each alert once whatever is killed or delivered again."""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import pytest
import serving_lab
from applied_repo import apply_definitions
from free_ports import free_port
from stream_lab import (
    records_of,
    running,
    send,
    settings_for,
    start,
    store_client,
    transaction,
    until,
    value_of,
)

from feature_repo import open_store
from feature_repo.settings import Settings
from stack import ports, processes, services, topics
from streaming.alert_topic import AlertTopic
from streaming.alerts import AnotherWrites, only_alerts_of

LARGE = 90_000
"""An amount that the lab's model declines."""


@dataclass
class Alerts:
    """The process that alerts, beside a fold and an API."""

    settings: Settings

    def start(self) -> int:
        """The pid of the process, started where it does not run."""
        return start(services.alerts(self.settings), self.settings)

    def send(self, events: list[dict[str, Any]]) -> None:
        send(self.settings.kafka_bootstrap_servers, "transactions", [(event["user_id"], value_of(event)) for event in events])

    def of(self, user_id: str, topic: str = "alerts") -> list[dict[str, Any]]:
        """What a topic says of a user, in order."""
        found = [json.loads(record.value) for record in records_of(self.settings.kafka_bootstrap_servers, topic)]
        return [each for each in found if each["user_id"] == user_id]

    def is_idle(self) -> bool:
        """Whether both judges have judged everything."""
        _, page = ports.http_get(f"http://127.0.0.1:{self.settings.alerts_metrics_port}/metrics")
        lines = [line for line in page.splitlines() if line.startswith("plumbline_alerts_lag_records{")]
        return len(lines) == 2 and all(line.endswith(" 0.0") for line in lines)


def burst(user_id: str, small: int, large: int = 0) -> list[dict[str, Any]]:
    """Payments of a user one second apart, the last of them a second ago: small ones, then large ones."""
    begin = datetime.now(UTC) - timedelta(seconds=small + large)
    cents = [100] * small + [LARGE] * large
    return [
        transaction(user_id, amount_cents=amount, country="DE", event_timestamp=(begin + timedelta(seconds=number)).isoformat())
        for number, amount in enumerate(cents)
    ]


def ids(events: list[dict[str, Any]], rule: str) -> list[str]:
    return [f"{event['event_id']}:{rule}" for event in events]


@pytest.fixture(scope="module")
def alerts(broker: str, redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alerts]:
    topics.recreate(broker)
    folder = tmp_path_factory.mktemp("alerts")
    settings = settings_for(broker, redis_server, folder)
    store_client(settings).flushdb()
    apply_definitions(settings)
    store = open_store(settings)
    with (
        running(services.fold(settings), settings),
        serving_lab.running(settings, store, serving_lab.both_models(folder / "lab", store)) as service,
    ):
        serving_lab.await_ready(service.client)
        own = dataclasses.replace(settings, api_port=service.client.base_url.port, alerts_metrics_port=free_port())
        yield Alerts(own)
        processes.stop(["alerts"], own.data_dir)


def test_a_burst_raises_the_alerts_of_its_rules_and_of_its_scores_with_reasons(alerts: Alerts):
    events = burst("mallory", small=6, large=1)

    alerts.start()
    alerts.send(events)
    raised = until(lambda: found if len(found := alerts.of("mallory")) >= 5 and alerts.is_idle() else [])

    expected = ids(events[4:], "card_testing") + ids(events[6:], "score") + ids(events[6:], "unusual_amount")
    assert sorted(alert["alert_id"] for alert in raised) == sorted(expected)
    by_rule = {alert["rule"]: alert for alert in raised}
    assert by_rule["card_testing"]["reason"].startswith("6 small payments in the 10 minutes before this one")
    assert by_rule["unusual_amount"]["reason"] == "90000 cents, where the largest payment of 30 days was 100"
    assert by_rule["score"]["reason"].startswith("transaction_fraud 1 says decline: ")
    decided = {record["event_id"]: record for record in alerts.of("mallory", "decisions")}
    assert decided.keys() == {event["event_id"] for event in events}
    for number, event in enumerate(events):
        record = decided[event["event_id"]]
        assert datetime.fromisoformat(record["as_of"]) == datetime.fromisoformat(event["event_timestamp"])
        assert record["features"]["user_payments__payment_id_count_1h"] == number


def test_each_alert_is_raised_once_whatever_is_killed_or_delivered_again(alerts: Alerts):
    events = burst("trudy", small=40)
    expected = sorted(ids(events[4:], "card_testing") + ids(events[10:], "velocity"))

    for begin, killed_at in ((0, 1), (20, 20)):
        process = psutil.Process(alerts.start())
        alerts.send(events[begin : begin + 20])
        alerts.send(events[: begin + 20 : 3])
        until(lambda killed_at=killed_at: len(alerts.of("trudy")) >= killed_at)
        process.kill()
        process.wait(10)
    alerts.start()
    until(lambda: len(alerts.of("trudy")) >= len(expected) and alerts.is_idle())

    assert sorted(alert["alert_id"] for alert in alerts.of("trudy")) == expected


def test_records_that_are_no_events_in_time_raise_nothing_and_hold_up_nothing(alerts: Alerts):
    late = transaction("oscar", event_timestamp=(datetime.now(UTC) - timedelta(days=2)).isoformat(), amount_cents=LARGE)
    look = transaction("oscar", event_type="view")
    large = transaction("oscar", amount_cents=LARGE)

    alerts.start()
    send(alerts.settings.kafka_bootstrap_servers, "transactions", [("oscar", b"{"), ("oscar", None)])
    alerts.send([late, look, large])
    raised = until(lambda: alerts.of("oscar"))

    assert [alert["alert_id"] for alert in raised] == ids([large], "score")


def test_a_data_directory_has_one_process_that_alerts(alerts: Alerts):
    alerts.start()

    with pytest.raises(AnotherWrites, match="make stop"), only_alerts_of(alerts.settings.run_dir):
        pass


def test_a_record_of_the_topic_that_is_no_alert_is_passed_over(empty_topics: str):
    send(empty_topics, "alerts", [("mallory", value) for value in (b"garbage", b"{}", b'{"alert_id": 7}', None)])
    alert = {"alert_id": "e1:velocity", "user_id": "mallory"}

    written = []
    for topic in (AlertTopic(empty_topics), AlertTopic(empty_topics)):
        written.append(topic.write([alert]))
        topic.close()

    assert written == [[alert], []]
