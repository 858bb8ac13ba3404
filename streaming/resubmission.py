"""Repaired dead letters back into their topics, each once: what was sent says, in a header, which letter it repairs."""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kafka import KafkaProducer

from feature_repo.kafka_address import client_options
from streaming.door import Record, admit
from streaming.event_topics import EVENT_TOPICS, EventTopic, allowed_lateness_us
from streaming.letter_file import Letter, Place
from streaming.topic_records import records

REPAIRS = "repairs"
"""Header of a record that was sent again: topic/partition/offset of the record it stands for."""
ACKNOWLEDGED_WITHIN_S = 30.0
MOST_BYTES = 1_000_000
"""A little less than kafka-python sends and a broker takes as one record, unless told otherwise (2^20)."""


@dataclass
class Outcome:
    """What became of the lines of a file: where each was sent, or why it was not."""

    sent: dict[Place, Place] = field(default_factory=dict)
    sent_before: list[Place] = field(default_factory=list)
    unchanged: list[Place] = field(default_factory=list)
    refused: dict[Place, str] = field(default_factory=dict)


def resubmit(
    bootstrap_servers: str, letters: Mapping[Place, Letter], repaired: Iterable[tuple[Place, bytes | None]]
) -> Outcome:
    """Send the repaired values; raises kafka.errors.KafkaError when one was not taken (then call again).

    Not sent: what is as it was, what would be refused or too late again, and what an earlier call sent. One call at a time.
    """
    outcome = Outcome()
    ready: dict[Place, bytes] = {}
    for place, value in repaired:
        letter = letters.get(place)
        if letter is None:
            outcome.refused[place] = "there is no such dead letter"
        elif value == letter.value:
            outcome.unchanged.append(place)
        elif value is None or (reason := _objection(place, value)):
            outcome.refused[place] = "its value is null" if value is None else reason
        else:
            ready[place] = value
    before = sent_before(bootstrap_servers, [letters[place] for place in ready])
    outcome.sent_before = [place for place in ready if place in before]
    outcome.sent = _send(bootstrap_servers, {place: value for place, value in ready.items() if place not in before})
    return outcome


def sent_before(bootstrap_servers: str, letters: Iterable[Letter]) -> dict[Place, Place]:
    """Which of the letters were sent again, and as what: the event topics say so themselves, nothing else is asked."""
    asked = {str(letter.place): letter for letter in letters}
    found: dict[Place, Place] = {}
    for topic in {letter.place.topic for letter in asked.values()}:
        since_ms = min(letter.appended_ms for letter in asked.values() if letter.place.topic == topic)
        for record in records(bootstrap_servers, topic, since_ms):
            repairs = (dict(record.headers).get(REPAIRS) or b"").decode(errors="replace")
            if repairs in asked:
                found.setdefault(asked[repairs].place, Place(topic, record.partition, record.offset))
    return found


def _objection(place: Place, value: bytes) -> str:
    """Why the door would not let a value count if it arrived now; empty when it would."""
    if len(value) > MOST_BYTES:
        return f"{len(value):,} bytes, more than the {MOST_BYTES:,} that are sent as one record"
    topic = _topic(place)
    events, refused = admit(topic, [Record(0, 0, int(time.time() * 1000), None, value)], allowed_lateness_us(topic))
    if refused:
        return refused[0].reason
    if events["too_late"][0].as_py():
        return f"too late: its {topic.time_column} is longer ago than the log's allowed lateness; load it with `make data`"
    return ""


def _topic(place: Place) -> EventTopic:
    return next(topic for topic in EVENT_TOPICS if topic.name == place.topic)


def _send(bootstrap_servers: str, values: Mapping[Place, bytes]) -> dict[Place, Place]:
    if not values:
        return {}
    producer = KafkaProducer(**client_options(bootstrap_servers), acks="all", enable_idempotence=True)
    try:
        futures = {
            place: producer.send(
                place.topic,
                value=value,
                key=json.loads(value)["user_id"].encode(),
                headers=[(REPAIRS, str(place).encode())],
            )
            for place, value in values.items()
        }
        producer.flush(ACKNOWLEDGED_WITHIN_S)
        taken = {place: future.get(ACKNOWLEDGED_WITHIN_S) for place, future in futures.items()}
    finally:
        producer.close(ACKNOWLEDGED_WITHIN_S)
    return {place: Place(place.topic, record.partition, record.offset) for place, record in taken.items()}
