"""From `send` to readable online, under steady load, beside a bare loop: produce, consume, SET, GET."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from multiprocessing import get_context

import msgspec
import numpy as np
import redis
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from feature_repo import open_store
from feature_repo.settings import Settings
from streaming.bench.sample import keep_sending
from streaming.event_topics import TRANSACTIONS

FEATURE = "user_activity:event_id_count_1d"
LOOK_EVERY_S = 0.002
"""More often, and looking takes half of a processor from what is looked at; it adds a millisecond to what is measured."""
GIVEN_UP_AFTER_S = 60.0
UNCOUNTED = 20
Line = dict[str, object]


class TooFew(RuntimeError):
    """The fold is so far behind, or the time so short, that freshness was not measured."""


def lines(settings: Settings, rate: float, seconds: float) -> Iterator[Line]:
    """Half of the probes go through the running fold, half through the bare loop, in turns, while another process sends
    `rate` events a second. The fold is expected to run. Raises TooFew where no probe is left to count.
    """
    ours, bare = _through_the_fold(settings), _bare_loop(settings)
    sender = get_context("spawn").Process(target=keep_sending, args=(settings.kafka_bootstrap_servers, rate, seconds, 77))
    sender.start()
    taken: dict[str, list[float]] = {"ours": [], "bare": []}
    try:
        while sender.is_alive():
            taken["ours"].append(_seconds(ours))
            taken["bare"].append(_seconds(bare))
    finally:
        sender.terminate()
        sender.join()
        bare(None)
    if len(taken["bare"]) <= UNCOUNTED:
        raise TooFew(
            f"{len(taken['bare'])} probes came back in {seconds:g} s at {rate:g} events a second, and {UNCOUNTED} do not "
            "count: give a smaller --rate or more --seconds."
        )
    p50, p99 = ({name: 1e3 * float(np.quantile(s[UNCOUNTED:], q)) for name, s in taken.items()} for q in (0.5, 0.99))
    yield {
        "bench": "freshness", "size": len(taken["ours"]) - UNCOUNTED, "rate": rate,
        "ours_p50_ms": round(p50["ours"], 1), "ours_p99_ms": round(p99["ours"], 1),
        "bare_p50_ms": round(p50["bare"], 1), "bare_p99_ms": round(p99["bare"], 1),
        "times_bare_p50": round(p50["ours"] / p50["bare"], 2),
    }  # fmt: skip


def _seconds(probe: Callable[[str | None], None]) -> float:
    began = time.perf_counter()
    probe(f"probe-{uuid.uuid4().hex}")
    return time.perf_counter() - began


def _through_the_fold(settings: Settings) -> Callable[[str | None], None]:
    store = open_store(settings)
    producer = KafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers, acks=1, linger_ms=0)

    def probe(user: str | None) -> None:
        now = datetime.now(UTC).isoformat()
        event = {"event_id": user, "user_id": user, "event_timestamp": now, "event_type": "view"}
        producer.send(TRANSACTIONS.name, key=str(user).encode(), value=msgspec.json.encode(event))
        _until(lambda: store.read_online([FEATURE], [{"user_id": user}])[0].known)

    return probe


def _bare_loop(settings: Settings) -> Callable[[str | None], None]:
    """A consumer on a thread that SETs each record's key; decisions is a topic that nobody else uses here."""
    host, port = settings.redis_connection_string.split(",")[0].split(":")
    client = redis.Redis(host=host, port=int(port))
    producer = KafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers, acks=1, linger_ms=0)
    stop = threading.Event()

    def consume() -> None:
        consumer = KafkaConsumer(bootstrap_servers=settings.kafka_bootstrap_servers)
        partitions = [TopicPartition("decisions", number) for number in consumer.partitions_for_topic("decisions")]
        consumer.assign(partitions)
        consumer.seek_to_end(*partitions)
        setter = redis.Redis(host=host, port=int(port))
        while not stop.is_set():
            for records in consumer.poll(timeout_ms=200).values():
                for record in records:
                    setter.set(b"bare:" + record.key, record.value, ex=60)
        consumer.close(autocommit=False)

    thread = threading.Thread(target=consume)
    thread.start()

    def probe(key: str | None) -> None:
        if key is None:
            stop.set()
            thread.join()
            return
        producer.send("decisions", key=key.encode(), value=b"x" * 200)
        _until(lambda: client.get(f"bare:{key}") is not None)

    return probe


def _until(ask: Callable[[], bool]) -> None:
    deadline = time.monotonic() + GIVEN_UP_AFTER_S
    while not ask():
        if time.monotonic() > deadline:
            raise TimeoutError(f"a probe was not readable after {GIVEN_UP_AFTER_S} s")
        time.sleep(LOOK_EVERY_S)
