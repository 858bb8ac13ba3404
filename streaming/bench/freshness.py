"""From `send` to the answer of GET /v1/users/{user_id}/features, under steady load, beside a bare loop.

The bare loop is produce, consume, SET, GET. Open loop: a probe, an event of a user of its own, is due every 100 ms whatever
became of those before, and its time counts from when it was due.
"""

import http.client
import json
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import msgspec
import numpy as np
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from feature_repo.settings import Settings
from streaming.bench.sample import sending
from streaming.bench.throughput import store_client
from streaming.event_topics import TRANSACTIONS

FEATURE = "user_activity__event_id_count_1d"
PROBES_A_SECOND = 10
"""Every other one goes through the bare loop."""
LOOK_EVERY_S = 0.002
"""More often, and looking takes half of a processor from what is looked at; it adds a millisecond to what is measured."""
GIVEN_UP_AFTER_S = 60.0
UNCOUNTED = 20
BARE_TOPIC = "decisions"
"""A topic that nobody else uses here."""
Line = dict[str, object]


class TooFew(RuntimeError):
    """The fold is so far behind, or the time so short, that freshness was not measured."""


class Way(ABC):
    """How a probe becomes readable; `taken_s` is how long it took each that has."""

    def __init__(self, settings: Settings) -> None:
        self._producer = KafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers, acks=1, linger_ms=0)
        self._due_at: dict[str, float] = {}
        self.taken_s: list[float] = []

    def begin(self, due_at: float) -> None:
        """Send a probe that was due then, in seconds of time.perf_counter."""
        name = f"probe-{uuid.uuid4().hex}"
        self._send(name)
        self._due_at[name] = due_at

    def look(self) -> None:
        """Ask for every probe that was not readable yet. Raises TimeoutError when one never is."""
        for name, due_at in list(self._due_at.items()):
            if self._is_readable(name):
                self.taken_s.append(time.perf_counter() - due_at)
                del self._due_at[name]
            elif time.perf_counter() - due_at > GIVEN_UP_AFTER_S:
                raise TimeoutError(f"a probe was not readable after {GIVEN_UP_AFTER_S} s")

    def close(self) -> None:
        self._producer.close()

    @abstractmethod
    def _send(self, name: str) -> None: ...

    @abstractmethod
    def _is_readable(self, name: str) -> bool: ...


class ThroughTheFold(Way):
    """An event of a user, until the API's answer counts it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._api = http.client.HTTPConnection(settings.api_reached_at, settings.api_port, timeout=10)

    def close(self) -> None:
        super().close()
        self._api.close()

    def _send(self, name: str) -> None:
        now = datetime.now(UTC).isoformat()
        event = {"event_id": name, "user_id": name, "event_timestamp": now, "event_type": "view"}
        self._producer.send(TRANSACTIONS.name, key=name.encode(), value=msgspec.json.encode(event))

    def _is_readable(self, name: str) -> bool:
        self._api.request("GET", f"/v1/users/{name}/features")
        answer = self._api.getresponse()
        body = answer.read()
        return answer.status == http.HTTPStatus.OK and json.loads(body)["features"][FEATURE] == 1


class BareLoop(Way):
    """A consumer on a thread that SETs each record's key."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._client, self._setter = store_client(settings), store_client(settings)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._consume, args=(settings.kafka_bootstrap_servers,))
        self._thread.start()

    def close(self) -> None:
        super().close()
        self._stop.set()
        self._thread.join()

    def _send(self, name: str) -> None:
        self._producer.send(BARE_TOPIC, key=name.encode(), value=b"x" * 200)

    def _is_readable(self, name: str) -> bool:
        return self._client.get(f"bare:{name}") is not None

    def _consume(self, bootstrap_servers: str) -> None:
        consumer = KafkaConsumer(bootstrap_servers=bootstrap_servers)
        partitions = [TopicPartition(BARE_TOPIC, number) for number in consumer.partitions_for_topic(BARE_TOPIC)]
        consumer.assign(partitions)
        consumer.seek_to_end(*partitions)
        while not self._stop.is_set():
            for records in consumer.poll(timeout_ms=200).values():
                for record in records:
                    self._setter.set(b"bare:" + record.key, record.value, ex=60)
        consumer.close(autocommit=False)


def _probe(ways: Sequence[Way], goes_on: Callable[[], bool]) -> None:
    """Begin a probe whenever one is due, the ways in turns, and look for those under way, while the load goes on."""
    began, begun = time.perf_counter(), 0
    while goes_on():
        due_at = began + begun / PROBES_A_SECOND
        if time.perf_counter() >= due_at:
            ways[begun % len(ways)].begin(due_at)
            begun += 1
        for way in ways:
            way.look()
        time.sleep(LOOK_EVERY_S)


def lines(settings: Settings, rate: float, seconds: float) -> Iterator[Line]:
    """What is measured while another process sends `rate` events a second. Fold and API are expected to run.

    Raises TooFew where no probe is left to count.
    """
    ways = {"ours": ThroughTheFold(settings), "bare": BareLoop(settings)}
    try:
        with sending(settings.kafka_bootstrap_servers, rate, seconds, seed=77) as sender:
            _probe(list(ways.values()), sender.is_alive)
    finally:
        for way in ways.values():
            way.close()
    taken_ms = {name: 1e3 * np.array(way.taken_s[UNCOUNTED:]) for name, way in ways.items()}
    counted = min(map(len, taken_ms.values()))
    if not counted:
        raise TooFew(
            f"Of {seconds:g} s at {rate:g} events a second no probe is left, for the first {UNCOUNTED} of a way do not count: "
            "give a smaller --rate or more --seconds."
        )
    p50, p99 = ({name: float(np.quantile(of_way, q)) for name, of_way in taken_ms.items()} for q in (0.5, 0.99))
    yield {
        "bench": "freshness", "size": int(rate * seconds), "rate": rate, "probes": counted,
        "ours_p50_ms": round(p50["ours"], 1), "ours_p99_ms": round(p99["ours"], 1),
        "bare_p50_ms": round(p50["bare"], 1), "bare_p99_ms": round(p99["bare"], 1),
        "times_bare_p50": round(p50["ours"] / p50["bare"], 2),
    }  # fmt: skip
