"""The one way in, for fold and archive: Kafka records become rows of an event log, or are refused with a reason."""

import functools
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.event_schema import CONTROL_CHARACTERS
from feature_repo.rfc_3339 import RFC_3339
from streaming.event_topics import EventTopic
from streaming.messages import MESSAGES, TEXTS, Label, Transaction
from streaming.reasons import EXAMPLE_TIME, Refusal, reason_for

AHEAD_ALLOWED_US = 5 * 60 * 1_000_000
NESTED_ALLOWED = 64
"""Levels of arrays and objects. The decoder's own limit is what the stack leaves it, so it depends on who calls."""
CONTROL_CHARACTER = re.compile(f"[{CONTROL_CHARACTERS}]")
_TOKEN = re.compile(rb'\\.|["\[\]{}]', re.DOTALL)
_DEEPER = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Record(NamedTuple):
    """A record as the broker keeps it; appended_ms is its LogAppendTime in milliseconds since the epoch."""

    partition: int
    offset: int
    appended_ms: int
    key: bytes | None
    value: bytes | None


class Refused(NamedTuple):
    """A record that is no event: where it stands in its topic, its original bytes, and why in one sentence."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    reason: str


def admit(topic: EventTopic, records: Iterable[Record], lateness_us: int) -> tuple[pa.Table, list[Refused]]:
    """Decode and check records of one topic.

    records  in any number, ascending offsets within a partition
    returns  the good ones, in order, as a table of the log's schema (row-level columns included; created_timestamp is
             the append time; too_late where that is more than lateness_us after the topic's time_column), and the
             refused ones

    A function of the records alone: whoever reads them, whenever, gets the same rows and the same reasons.
    """
    read = functools.partial(_read, msgspec.json.Decoder(MESSAGES[topic.name]))
    good: list[tuple[Record, Transaction | Label, int]] = []
    refused = []
    for record in records:
        try:
            good.append((record, *read(record)))
        except Refusal as refusal:
            refused.append(Refused(record.partition, record.offset, record.key, record.value, str(refusal)))
    return _table(topic, good, lateness_us), refused


def _read(decoder: msgspec.json.Decoder, record: Record) -> tuple[Transaction | Label, int]:
    """The message of a record and its event_timestamp in microseconds since the epoch; raises Refusal."""
    value = record.value
    if value and value.count(b"[") + value.count(b"{") > NESTED_ALLOWED and _is_nested_too_deeply(value):
        raise Refusal(f"the value is nested too deeply: more than {NESTED_ALLOWED} levels")
    try:
        if value and not value.isascii():
            value.decode()  # msgspec does not look into fields that it skips
        message = decoder.decode(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refusal(reason_for(value, error)) from None
    for name in TEXTS:
        text = getattr(message, name, None)
        if text is not None and not text.isprintable() and CONTROL_CHARACTER.search(text):
            raise Refusal(f"{name} has a control character: {text[:40]!r}")
    at_us = _microseconds(message.event_timestamp)
    if at_us > record.appended_ms * 1000 + AHEAD_ALLOWED_US:
        raise Refusal(f"event_timestamp {message.event_timestamp} is more than 5 minutes after the record arrived")
    message.complete()
    return message, at_us


def _is_nested_too_deeply(value: bytes) -> bool:
    """Whether the arrays and objects of a JSON text lie in one another more than NESTED_ALLOWED deep."""
    depth, in_text = 0, False
    for token in _TOKEN.finditer(value):
        if token[0] == b'"':
            in_text = not in_text
        elif not in_text and token[0] in _DEEPER:
            depth += _DEEPER[token[0]]
            if depth > NESTED_ALLOWED:
                return True
    return False


def _microseconds(text: str) -> int:
    """RFC 3339 text as microseconds since the epoch; finer digits are cut."""
    upper = text.upper()
    if not RFC_3339.fullmatch(upper):
        raise Refusal(f"event_timestamp {text[:40]!r} is not RFC 3339 with a UTC offset, like {EXAMPLE_TIME}")
    try:
        since = datetime.fromisoformat(upper) - _EPOCH
    except ValueError as error:
        raise Refusal(f"event_timestamp {text[:40]!r} is no such time: {error}") from None
    if since.days < 0:
        raise Refusal(f"event_timestamp {text} is before 1970")
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _table(topic: EventTopic, good: Sequence[tuple[Record, Transaction | Label, int]], lateness_us: int) -> pa.Table:
    schema = topic.schema
    columns: dict[str, pa.Array] = {
        "event_timestamp": pa.array([at_us for _, _, at_us in good], pa.int64()),
        "created_timestamp": pa.array([record.appended_ms * 1000 for record, _, _ in good], pa.int64()),
        "source_partition": pa.array([record.partition for record, _, _ in good], pa.int32()),
        "source_offset": pa.array([record.offset for record, _, _ in good], pa.int64()),
    }
    for name in MESSAGES[topic.name].__struct_fields__:
        if name not in columns:
            values = [getattr(message, name) for _, message, _ in good]
            columns[name] = pa.array(values, schema.field(name).type)
    late_us = pc.subtract(columns["created_timestamp"], columns[topic.time_column])
    columns["too_late"] = pc.greater(late_us, lateness_us)
    for name in ("event_timestamp", "created_timestamp"):
        columns[name] = columns[name].cast(schema.field(name).type)
    return topic.add_columns(pa.table(columns)).select(schema.names).cast(schema)
