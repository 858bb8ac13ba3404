"""Records that count nowhere, kept with their reason: the topic transactions.dead-letter."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa
from kafka import KafkaProducer
from kafka.errors import MessageSizeTooLargeError
from kafka.producer.future import FutureRecordMetadata

from feature_repo.kafka_address import client_options
from streaming.door import Record, Refused
from streaming.event_topics import DEAD_LETTER, EventTopic

ACKNOWLEDGED_WITHIN_MS = 30_000
LARGEST_REQUEST_BYTES = 64 * 1024 * 1024


class DeadLetter(NamedTuple):
    """A record's original key and value (None as they were), where it stands in its topic, and the reason."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    error: str

    def headers(self) -> list[tuple[str, bytes]]:
        return [
            ("error", self.error.encode(errors="backslashreplace")),
            ("source_topic", self.topic.encode()),
            ("source_partition", str(self.partition).encode()),
            ("source_offset", str(self.offset).encode()),
        ]


def letters_of(topic: EventTopic, records: Sequence[Record], refused: Sequence[Refused], events: pa.Table) -> list[DeadLetter]:
    """The dead letters of a batch: of the refused records first, then of the events flagged too late, with the original bytes.

    refused, events  what `admit` made of the records
    """
    letters = [DeadLetter(topic.name, r.partition, r.offset, r.key, r.value, r.reason) for r in refused]
    late = events.filter(events["too_late"])
    if not late.num_rows:
        return letters
    original = {(record.partition, record.offset): record for record in records}
    for partition, offset, at in zip(
        *(late[name].to_pylist() for name in ("source_partition", "source_offset", topic.time_column)), strict=True
    ):
        record = original[partition, offset]
        reason = f"too late: its {topic.time_column} {at.isoformat()} is longer ago than the log's allowed lateness"
        letters.append(DeadLetter(topic.name, partition, offset, record.key, record.value, reason))
    return letters


class DeadLetters:
    """Writes dead letters; each is acknowledged by all replicas before `write` returns.

    A crash right after may write a letter again: the source headers say that it is the same one.
    """

    def __init__(self, bootstrap_servers: str) -> None:
        self._producer = KafkaProducer(
            **client_options(bootstrap_servers),
            acks="all",
            enable_idempotence=False,  # else one letter too large for the topic fails every later one
            linger_ms=0,
            max_request_size=LARGEST_REQUEST_BYTES,
            max_block_ms=ACKNOWLEDGED_WITHIN_MS,
            delivery_timeout_ms=ACKNOWLEDGED_WITHIN_MS,
            request_timeout_ms=ACKNOWLEDGED_WITHIN_MS // 3,
        )

    def write(self, letters: Iterable[DeadLetter]) -> None:
        """Write the letters; raises kafka.errors.KafkaError when the broker did not take one (write them all again)."""
        sent = [(letter, self._send(letter, letter.value, [])) for letter in letters]
        if sent:
            self._producer.flush(ACKNOWLEDGED_WITHIN_MS / 1000)
        for letter, future in sent:
            try:
                future.get(ACKNOWLEDGED_WITHIN_MS / 1000)
            except MessageSizeTooLargeError:
                note = f"{len(letter.value or b'')} bytes, too large for this topic"
                without_value = self._send(letter, b"", [("value_left_out", note.encode())])
                without_value.get(ACKNOWLEDGED_WITHIN_MS / 1000)

    def close(self) -> None:
        self._producer.close(ACKNOWLEDGED_WITHIN_MS / 1000)

    def _send(self, letter: DeadLetter, value: bytes | None, more: list[tuple[str, bytes]]) -> FutureRecordMetadata:
        if value is None and letter.key is None:
            value = b""  # the client sends no record without both
        return self._producer.send(DEAD_LETTER, value=value, key=letter.key, headers=letter.headers() + more)
