"""What the stream's tests share: settings and processes of their own, and what is in the topics."""

import dataclasses
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import psutil
import redis
from free_ports import free_port
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from feature_repo.settings import Settings
from stack import processes

T = TypeVar("T")

STORE_DATABASE = 7
_ids = itertools.count()


def settings_for(broker: str, redis_server: str, data_dir: Path) -> Settings:
    """The run's broker and store (a database of it for these tests alone), a data directory and a metrics port."""
    return Settings.from_env(
        {
            "KAFKA_BOOTSTRAP_SERVERS": broker,
            "REDIS_CONNECTION_STRING": f"{redis_server},db={STORE_DATABASE}",
            "DATA_DIR": str(data_dir),
            "FOLD_METRICS_PORT": str(free_port()),
            "SPARK_MASTER": "local[1]",
        }
    )


def store_client(settings: Settings) -> redis.Redis:
    host, port = settings.redis_connection_string.split(",")[0].split(":")
    return redis.Redis(host=host, port=int(port), db=STORE_DATABASE)


@contextmanager
def running(program: processes.Program, settings: Settings) -> Iterator[int]:
    """The pid of a started, ready process of ours; it and its children are ended at the end, if they have not ended."""
    try:
        yield start(program, settings)
    finally:
        processes.stop([program.name], settings.data_dir)


def start(program: processes.Program, settings: Settings) -> int:
    """The pid of a process of ours that is ready, started where it does not run."""
    named = {
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "REDIS_CONNECTION_STRING": settings.redis_connection_string,
        "SPARK_MASTER": settings.spark_master,
    }
    program = dataclasses.replace(program, environment={**program.environment, **named})
    processes.start(program, settings.data_dir)
    pid = int(processes.pid_path(program.name, settings.data_dir).read_text())
    until(lambda: psutil.Process(pid).environ(), within_s=5)  # empty for a moment after the start
    processes.await_ready(program, settings.data_dir)
    return pid


def until(ask: Callable[[], T], within_s: float = 60.0) -> T:
    """What `ask` answers as soon as that is true; the test fails after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"still {answer!r} after {within_s} s"
        time.sleep(0.05)
    return answer


def transaction(user_id: str, **columns: Any) -> dict[str, Any]:
    """A payment of 100 cents by a user, now, with an id of its own."""
    now = datetime.now(UTC).isoformat()
    own = {"event_id": f"t-{next(_ids)}", "user_id": user_id, "event_timestamp": now, "amount_cents": 100}
    return own | columns


def value_of(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event).encode()


def send(broker: str, topic: str, records: Sequence[tuple[str, bytes | None]]) -> list[tuple[int, int]]:
    """Send (key, value) records; returns (partition, offset) of each, acknowledged."""
    producer = KafkaProducer(bootstrap_servers=broker, acks="all", linger_ms=2)
    try:
        futures = [producer.send(topic, value=value, key=key.encode()) for key, value in records]
        producer.flush(30)
        return [(sent.partition, sent.offset) for sent in (future.get(30) for future in futures)]
    finally:
        producer.close()


def last_offsets(broker: str, topic: str) -> dict[int, int]:
    """Partition -> offset of the newest record, for partitions that have one."""
    with KafkaConsumer(bootstrap_servers=broker) as consumer:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        ends = consumer.end_offsets(partitions)
    return {partition.partition: end - 1 for partition, end in ends.items() if end}


def records_of(broker: str, topic: str) -> list[Any]:
    """Every record of a topic, partition by partition."""
    with KafkaConsumer(bootstrap_servers=broker, auto_offset_reset="earliest", enable_auto_commit=False) as consumer:
        ends = {TopicPartition(topic, number): last + 1 for number, last in last_offsets(broker, topic).items()}
        consumer.assign(list(ends))
        consumer.seek_to_beginning(*ends) if ends else None
        found: list[Any] = []
        while any(consumer.position(partition) < end for partition, end in ends.items()):
            for records in consumer.poll(timeout_ms=500).values():
                found += records
    return found
