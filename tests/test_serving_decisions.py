"""The decision log: every score reaches the topic, also the ones given while Kafka was away."""

import json
import time
from pathlib import Path

import pytest
from free_ports import free_port
from kafka import KafkaConsumer, TopicPartition
from serving_lab import NOBODY_LISTENS, applied_store, await_ready, both_models, lab_settings, running, wait_until

from feature_repo.settings import Settings
from serving.decisions import DecisionLog
from serving.metrics import Metrics
from serving.spool import Spool
from serving.topic import TOPIC, DecisionTopic, is_reachable
from stack import kafka_broker, processes, topics


def decision_log(bootstrap_servers: str, spool: Path) -> DecisionLog:
    log = DecisionLog(DecisionTopic(bootstrap_servers), Spool(spool), Metrics())
    log.start()
    return log


def records(bootstrap_servers: str) -> list[dict]:
    """Everything in the topic."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap_servers, consumer_timeout_ms=1_000)
    partitions = [TopicPartition(TOPIC, partition) for partition in consumer.partitions_for_topic(TOPIC)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    found = [{"key": record.key.decode(), **json.loads(record.value)} for record in consumer]
    consumer.close()
    return found


def test_a_score_is_logged_with_all_that_parity_needs(tmp_path: Path, own_store: str, empty_topics: str):
    settings = lab_settings(tmp_path, own_store, KAFKA_BOOTSTRAP_SERVERS=empty_topics)
    store = applied_store(settings)
    transaction = {"merchant_id": "bakery", "amount_cents": 700, "event_id": "e-1", "event_type": "payment"}

    with running(settings, store, both_models(tmp_path, store)) as service:
        await_ready(service.client)
        answer = service.score({"user_id": "Zoë", "transaction": transaction}).json()
    (logged,) = records(empty_topics)

    assert logged["key"] == "Zoë"
    assert {name: logged[name] for name in answer} == answer
    assert logged["feature_service"] == "transaction_fraud_v1"
    assert logged["event_id"] == "e-1"
    assert logged["latency_ms"] > 0
    assert logged["entity_row"]["merchant_id"] == "bakery"
    assert logged["entity_row"]["device_id"] is None
    assert logged["entity_row"]["transaction_amount_cents"] == 700


def test_what_was_decided_while_kafka_was_away_is_sent_when_it_is_back(tmp_path: Path, empty_topics: str):
    spool = tmp_path / "spool" / "decisions.jsonl"
    away = decision_log(NOBODY_LISTENS, spool)
    for number in range(50):
        away.put({"request_id": f"r-{number}", "user_id": f"u-{number % 7}"})
    away.close()
    assert len(spool.read_bytes().splitlines()) == 50

    back = decision_log(empty_topics, spool)
    wait_until(lambda: not spool.exists())
    back.put({"request_id": "r-50", "user_id": "u-1"})
    back.close()

    assert sorted(record["request_id"] for record in records(empty_topics)) == sorted(f"r-{n}" for n in range(51))


def test_a_broker_is_looked_for_at_every_host_of_its_address_before_a_client_is_made(empty_topics: str):
    assert is_reachable([empty_topics], within_s=1.0)
    assert is_reachable([NOBODY_LISTENS, "nowhere.invalid", empty_topics], within_s=1.0)
    assert not is_reachable([NOBODY_LISTENS, "nowhere.invalid", "[::1]:9"], within_s=1.0)


def test_after_a_restart_of_kafka_all_that_was_decided_reaches_the_topic_while_more_is_decided(tmp_path: Path):
    settings = Settings.from_env({"DATA_DIR": str(tmp_path / "kafka"), "KAFKA_PORT": str(free_port())})
    broker, servers = kafka_broker.program(settings), settings.kafka_bootstrap_servers
    processes.start(broker, settings.data_dir)
    processes.await_ready(broker, settings.data_dir)
    topics.create_missing(servers)
    log = decision_log(servers, tmp_path / "decisions.jsonl")
    decided: list[str] = []

    def decide(seconds: float) -> None:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            decided.append(f"r-{len(decided)}")
            log.put({"request_id": decided[-1], "user_id": "u"})
            time.sleep(0.01)

    try:
        decide(1)
        processes.running(broker.name, settings.data_dir).kill()
        decide(6)
        processes.start(broker, settings.data_dir)
        deadline = time.monotonic() + 30
        while (waits := (tmp_path / "decisions.jsonl").exists()) and time.monotonic() < deadline:
            decide(0.5)
        log.close()
        assert not waits
        assert set(decided) == {record["request_id"] for record in records(servers)}
    finally:
        processes.stop([broker.name], settings.data_dir)


def test_an_answer_does_not_wait_for_kafka(tmp_path: Path, own_store: str):
    settings = lab_settings(tmp_path, own_store)
    store = applied_store(settings)

    with running(settings, store, both_models(tmp_path, store)) as service:
        await_ready(service.client)
        seconds = [service.score({"user_id": "anna"}).elapsed.total_seconds() for _ in range(20)]

    assert sorted(seconds)[10] < 0.25
    assert len((tmp_path / "spool" / "decisions.jsonl").read_bytes().splitlines()) == 20


def test_the_spool_gives_back_what_it_was_given_in_order_and_vanishes(tmp_path: Path):
    spool = Spool(tmp_path / "s" / "d.jsonl")
    spool.append([b"1", b"22", b"333"])

    assert spool.first(2) == [b"1", b"22"]
    spool.drop([b"1", b"22"])
    spool.append([b"4"])
    assert spool.first(10) == [b"333", b"4"]
    spool.drop([b"333", b"4"])
    assert spool.first(10) == []
    assert not (tmp_path / "s" / "d.jsonl").exists()


def test_a_full_spool_keeps_what_it_has_and_says_how_much_it_took(tmp_path: Path):
    spool = Spool(tmp_path / "d.jsonl", largest_bytes=8)

    assert spool.append([b"123", b"456", b"7"]) == 2
    assert spool.first(10) == [b"123", b"456"]


@pytest.mark.parametrize("torn", [b'{"request_id": "r-2", "us', b""])
def test_a_line_torn_by_a_crash_is_cut_off(tmp_path: Path, torn: bytes):
    path = tmp_path / "d.jsonl"
    path.write_bytes(b'{"request_id": "r-1"}\n' + torn)

    assert Spool(path).first(10) == [b'{"request_id": "r-1"}']
