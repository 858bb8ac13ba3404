"""Events for the benchmarks: plausible payments of many users, or with one user who has a share of all."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any

import msgspec
from kafka import KafkaProducer

from streaming.event_topics import TRANSACTIONS

USERS, MERCHANTS = 10_000, 500
LOADED_WITHIN_S = 600.0


def messages(count: int, hot_share: float = 0.0, seed: int = 1) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of `count` records, dated now; `hot_share` of them are user u0's."""
    draw = random.Random(seed)
    for number in range(count):
        user = 0 if draw.random() < hot_share else int(USERS * draw.random() ** 2)
        event: dict[str, Any] = {
            "event_id": f"b{seed}-{number}-{draw.getrandbits(40):x}",
            "user_id": f"u{user}",
            "event_timestamp": datetime.now(UTC).isoformat(),
            "merchant_id": f"m{int(MERCHANTS * draw.random() ** 2)}",
            "device_id": f"d{user}-{draw.randrange(2)}",
            "event_type": draw.choice(["payment", "payment", "view", "hold", "withdrawal"]),
            "category": "food",
            "channel": draw.choice(["app", "web"]),
            "country": "NO",
            "amount_cents": draw.randrange(100_000),
        }
        yield event["user_id"].encode(), msgspec.json.encode(event)


def load(bootstrap_servers: str, count: int, hot_share: float = 0.0, seed: int = 1) -> None:
    """Put `count` events into the topic, as fast as the broker takes them."""
    producer = KafkaProducer(bootstrap_servers=bootstrap_servers, acks="all", linger_ms=20, batch_size=256 * 1024)
    for key, value in messages(count, hot_share, seed):
        producer.send(TRANSACTIONS.name, key=key, value=value)
    producer.flush(LOADED_WITHIN_S)
    producer.close()


@contextmanager
def sending(bootstrap_servers: str, rate: float, seconds: float, seed: int) -> Iterator[BaseProcess]:
    """Another process sends `rate` events a second for `seconds`, whatever becomes of them, and is ended with the block."""
    sender = get_context("spawn").Process(target=_keep_sending, args=(bootstrap_servers, rate, seconds, seed))
    sender.start()
    try:
        yield sender
    finally:
        sender.terminate()
        sender.join()


def _keep_sending(bootstrap_servers: str, rate: float, seconds: float, seed: int) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap_servers, acks=1, linger_ms=2)
    began = time.monotonic()
    for sent, (key, value) in enumerate(messages(int(rate * seconds), seed=seed)):
        while sent / rate > time.monotonic() - began:
            time.sleep(0.002)
        producer.send(TRANSACTIONS.name, key=key, value=value)
    producer.flush(LOADED_WITHIN_S)
    producer.close()
