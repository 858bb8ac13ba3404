"""The producer of the chaos: sends at a rate on a thread of its own, through every death of the broker."""

import threading
import time
import zlib
from collections.abc import Callable
from functools import partial

from kafka import KafkaProducer
from kafka.errors import KafkaError
from kafka.producer.future import RecordMetadata

from streaming.chaos.traffic import Message, Traffic

POISON_HEADER = ("kind", b"poison")
AFTERWARDS_A_SECOND = 200.0
TICK_S = 0.02
AGAIN_AFTER_S = 0.5
FLUSH_WITHIN_S = 120.0

Acknowledged = tuple[str, int, int, int]
"""Topic, partition, offset and CRC-32 of the value of a record that the broker said it has."""


class Sending:
    """Draws `events` records over `seconds`, then a few more until `finish`; what was acknowledged must be in the topics."""

    def __init__(self, bootstrap_servers: str, traffic: Traffic, events: int, seconds: float) -> None:
        self._servers, self._traffic, self._events, self._seconds = bootstrap_servers, traffic, events, seconds
        self._finish = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sending", daemon=True)
        self.acknowledged: list[Acknowledged] = []
        self.unsure = 0
        self._drawn = 0
        self.sent = 0

    def start(self) -> None:
        self._thread.start()

    @property
    def share_done(self) -> float:
        """Of the records that are to be sent at the least."""
        return self._drawn / self._events

    def finish(self) -> None:
        """Send what is still missing and wait until the broker has it."""
        self._finish.set()
        self._thread.join()

    def _run(self) -> None:
        producer = KafkaProducer(
            bootstrap_servers=self._servers, acks="all", linger_ms=5, delivery_timeout_ms=60_000, request_timeout_ms=5_000,
            reconnect_backoff_max_ms=1_000, max_block_ms=5_000,
        )  # fmt: skip
        self._draw(producer, self._events / self._seconds, lambda: self._drawn >= self._events)
        self._draw(producer, min(AFTERWARDS_A_SECOND, self._events / self._seconds), self._finish.is_set)
        producer.flush(FLUSH_WITHIN_S)
        producer.close(FLUSH_WITHIN_S)

    def _draw(self, producer: KafkaProducer, a_second: float, is_over: Callable[[], bool]) -> None:
        began, before = time.time(), self._drawn
        while not is_over():
            while not is_over() and self._drawn < before + int((time.time() - began) * a_second) + 1:
                for message in self._traffic.draw(time.time()):
                    self._send(producer, message)
                self._drawn += 1
            time.sleep(TICK_S)

    def _send(self, producer: KafkaProducer, message: Message) -> None:
        headers = [POISON_HEADER] if message.poison else []
        while True:
            try:
                future = producer.send(message.topic, value=message.value, key=message.key, headers=headers)
            except KafkaError:
                time.sleep(AGAIN_AFTER_S)  # the broker is away and the buffer full
                continue
            self.sent += 1
            future.add_callback(partial(self._has, zlib.crc32(message.value or b"")))
            future.add_errback(self._may_have)
            return

    def _has(self, checksum: int, record: RecordMetadata) -> None:
        self.acknowledged.append((record.topic, record.partition, record.offset, checksum))

    def _may_have(self, _error: Exception) -> None:
        self.unsure += 1
