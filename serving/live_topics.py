"""Listening to the topics `decisions` and `alerts` while somebody watches: what other processes decided and alerted."""

import json
import threading

from kafka import KafkaConsumer
from kafka.errors import KafkaError

from feature_repo.kafka_address import client_options
from serving.live import Tell

KINDS = {"decisions": "decision", "alerts": "alert"}
RETRY_S = 2.0


class LiveTopics:
    """One thread that reads the topics' ends from start to stop, and connects again by itself."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._broker = client_options(bootstrap_servers)
        self._stop = threading.Event()

    def start(self, tell: Tell) -> None:
        """Begin to tell what arrives from now on; returns at once."""
        self._stop = threading.Event()
        threading.Thread(target=self._run, args=(self._stop, tell), name="live-topics", daemon=True).start()

    def stop(self) -> None:
        """End it; the thread leaves within a second."""
        self._stop.set()

    def _run(self, stop: threading.Event, tell: Tell) -> None:
        while not stop.is_set():
            try:
                self._listen(stop, tell)
            except KafkaError:  # the broker is away: the process' own decisions are told all the same
                stop.wait(RETRY_S)

    def _listen(self, stop: threading.Event, tell: Tell) -> None:
        consumer = KafkaConsumer(
            *KINDS,
            **self._broker,
            client_id="plumbline-live",
            auto_offset_reset="latest",
            bootstrap_timeout_ms=2_000,
        )
        try:
            while not stop.is_set():
                for partition, records in consumer.poll(timeout_ms=500).items():
                    for record in records:
                        _tell_record(tell, partition.topic, record.value)
        finally:
            consumer.close()


def _tell_record(tell: Tell, topic: str, value: bytes) -> None:
    try:
        told = json.loads(value)
    except ValueError:
        return  # not a record of ours; the topic keeps it
    if isinstance(told, dict):
        tell(KINDS[topic], told)
