"""Sending decisions to Kafka, with timeouts that keep a missing broker from holding anything up for long."""

import logging
import socket
import time
from collections.abc import Sequence
from contextlib import suppress

import orjson
from kafka import KafkaProducer
from kafka.cluster import get_ip_port_afi
from kafka.errors import KafkaError

from feature_repo.kafka_address import client_options

TOPIC = "decisions"
RETRY_AFTER_S = 2.0
BOOTSTRAP_MS = 2_000
DELIVERY_MS = 4_000
BATCH_BYTES = 256 * 1024
"""Decisions that go to a partition together: with kafka-python's 16 kB, six of them, a record costs half as much again."""


class DecisionTopic:
    """Connects when first used, and anew after a failure, two seconds later at the earliest.

    Used by one thread.
    """

    def __init__(self, bootstrap_servers: str) -> None:
        self._broker = client_options(bootstrap_servers)
        self._producer: KafkaProducer | None = None
        self._not_before = 0.0
        logging.getLogger("kafka").setLevel(logging.CRITICAL)  # it repeats every failed attempt; we say it once

    def send(self, lines: list[bytes]) -> list[bytes]:
        """Send JSON objects keyed by their user_id; returns those not acknowledged by all replicas within seconds."""
        if time.monotonic() < self._not_before:
            return lines
        try:
            undelivered = self._send(lines)
        except KafkaError:
            undelivered = lines
        if undelivered:
            self._not_before = time.monotonic() + RETRY_AFTER_S
            self.close()  # an idempotent producer whose record ran out of time sends no more, whatever the broker does
        return undelivered

    def close(self) -> None:
        """Let go of the connection; nothing is pending, every send was waited for."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaError):
                producer.close(timeout=0)

    def _send(self, lines: list[bytes]) -> list[bytes]:
        if self._producer is None:
            if not is_reachable(self._broker["bootstrap_servers"], BOOTSTRAP_MS / 1_000):
                return lines
            self._producer = self._connected()
        futures = [self._producer.send(TOPIC, line, key=orjson.loads(line)["user_id"].encode()) for line in lines]
        self._producer.flush(timeout=2 * DELIVERY_MS / 1_000)
        return [line for line, future in zip(lines, futures, strict=True) if not future.succeeded()]

    def _connected(self) -> KafkaProducer:
        return KafkaProducer(
            **self._broker,
            client_id="plumbline-serving",
            linger_ms=5,
            batch_size=BATCH_BYTES,
            bootstrap_timeout_ms=BOOTSTRAP_MS,
            max_block_ms=BOOTSTRAP_MS,
            request_timeout_ms=DELIVERY_MS // 2,
            delivery_timeout_ms=DELIVERY_MS,
            allow_auto_create_topics=False,
        )


def is_reachable(servers: Sequence[str], within_s: float) -> bool:
    """Whether one of these `host:port` takes connections, waited for `within_s` seconds each.

    A client that finds nobody costs its process tens of milliseconds in which it does nothing else; this costs none.
    """
    for server in servers:
        host, port, _ = get_ip_port_afi(server)
        with suppress(OSError), socket.create_connection((host, port), within_s):
            return True
    return False
