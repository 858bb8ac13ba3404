"""Logged answers: the topic `decisions`, and the file where the API keeps them while Kafka is away."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from feature_repo.kafka_address import client_options
from feature_repo.settings import Settings

DECISIONS = "decisions"
POLL_MS = 500
NEEDED = ("request_id", "entity_row", "as_of", "positions", "features", "feature_service")


class Answers:
    """Each logged answer once, in batches, from where the last call ended."""

    def __init__(self, settings: Settings) -> None:
        """Raises kafka.errors.KafkaError when no broker answers."""
        self._spool = settings.data_dir / "spool" / "decisions.jsonl"
        self._consumer = KafkaConsumer(
            **client_options(settings.kafka_bootstrap_servers),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            bootstrap_timeout_ms=5_000,
        )
        self._next: dict[TopicPartition, int] = {}
        self._seen: set[str] = set()
        self.unreadable = 0

    def new(self) -> Iterator[list[dict[str, Any]]]:
        """Batches of what is in the topic by now, then of what is in the file; nothing that was given before.

        A record that is no answer is counted in `unreadable` and left out.
        """
        ends = self._ends()
        self._consumer.assign(list(ends))
        for partition in ends:
            self._consumer.seek(partition, self._next.get(partition, 0))
        while any(self._consumer.position(partition) < end for partition, end in ends.items()):
            polled = self._consumer.poll(timeout_ms=POLL_MS)
            yield [answer for records in polled.values() for r in records for answer in self._unseen(r.value)]
        self._next = {partition: self._consumer.position(partition) for partition in ends}
        yield [answer for line in _lines(self._spool) for answer in self._unseen(line)]

    def waiting(self) -> int:
        """How many records of the topic were not given yet."""
        return sum(end - self._next.get(partition, 0) for partition, end in self._ends().items())

    def close(self) -> None:
        self._consumer.close()

    def _ends(self) -> Mapping[TopicPartition, int]:
        partitions = [TopicPartition(DECISIONS, number) for number in self._consumer.partitions_for_topic(DECISIONS) or ()]
        return self._consumer.end_offsets(partitions) if partitions else {}

    def _unseen(self, line: bytes | None) -> list[dict[str, Any]]:
        """The answer in a line, unless it was seen before: the API delivers at least once."""
        try:
            answer = json.loads(line or b"")
            request_id = str([answer[name] for name in NEEDED] and answer["request_id"])
            _require_shape(answer)
        except (ValueError, TypeError, KeyError):
            self.unreadable += 1
            return []
        if request_id in self._seen:
            return []
        self._seen.add(request_id)
        return [answer]


def _require_shape(answer: Mapping[str, Any]) -> None:
    """Raise TypeError where a field is not of the kind that the API logs: somebody else wrote the record."""
    mappings = (answer["entity_row"], answer["positions"], answer["features"])
    if not all(isinstance(each, dict) for each in mappings) or not isinstance(answer["as_of"], str):
        raise TypeError("no logged answer")


def _lines(spool: Path) -> list[bytes]:
    """The whole lines of the file; the last may still be being written."""
    if not spool.exists():
        return []
    return [line for line in spool.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
