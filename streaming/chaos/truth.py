"""What is in a topic, read back raw and judged by the rules alone: which records count, and what becomes of the others."""

import json
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
from kafka import KafkaConsumer, TopicPartition

from streaming.chaos.sending import POISON_HEADER
from streaming.event_topics import LABELS, EventTopic

EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
DAY_US = 86_400_000_000
AHEAD_US = 300_000_000
LATENESS_US = {"transactions": DAY_US, "labels": 180 * DAY_US}
TEXTS = {
    "transactions": ("user_id", "merchant_id", "device_id", "event_type", "category", "channel", "country"),
    "labels": ("user_id", "merchant_id", "device_id"),
}
NUMBERS = {"transactions": ("amount_cents",), "labels": ("amount_cents", "is_fraud", "fraud_amount_cents")}
SMALL_CENTS, NIGHT_ENDS_US = 500, 6 * 3_600_000_000
ACCEPTED, DUPLICATE, TOO_LATE, REFUSED = "accepted", "duplicate", "too late", "refused"


@dataclass(frozen=True)
class Topic:
    """A topic read to its end.

    records  one row a record: source_partition, source_offset, checksum of the value, `fate`, and of every record that is
             an event its columns and times in microseconds: `said_us` is the payload's event_timestamp,
             event_timestamp the time that windows go by
    ends     partition -> offset of the last record
    """

    topic: EventTopic
    records: pd.DataFrame
    ends: dict[int, int]

    @property
    def accepted(self) -> pd.DataFrame:
        return self.records[self.records["fate"] == ACCEPTED]

    def count(self, fate: str) -> int:
        return int((self.records["fate"] == fate).sum())


def read_topic(bootstrap_servers: str, topic: EventTopic) -> Topic:
    """Read a topic from its beginning to its present end and judge every record."""
    texts: dict[str, str] = {}
    rows = [_row(topic, record, texts) for record in read_records(bootstrap_servers, topic.name)]
    rows.sort(key=lambda row: (row[0], row[1]))
    columns = ["source_partition", "source_offset", "checksum", "poison", "event_id", "event_timestamp", "created_timestamp"]
    table = pd.DataFrame(rows, columns=[*columns, *TEXTS[topic.name], *NUMBERS[topic.name]])
    for name in ("event_timestamp", *NUMBERS[topic.name]):
        table[name] = pd.array(table[name], dtype="Int64")
    table["fate"] = fates(table, topic)
    table["said_us"] = table["event_timestamp"]
    ends = {int(p): int(end) for p, end in table.groupby("source_partition")["source_offset"].max().items()}
    return Topic(topic, _with_columns_of_one_row(table, topic), ends)


def read_records(bootstrap_servers: str, topic: str) -> Iterator[Any]:
    """Every record of a topic up to its present end, each partition's in the order of offsets; none is kept."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest", enable_auto_commit=False)
    with consumer:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        ends = consumer.end_offsets(partitions)
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        while any(consumer.position(partition) < end for partition, end in ends.items()):
            for partition, records in consumer.poll(timeout_ms=500, max_records=20_000).items():
                yield from (record for record in records if record.offset < ends[partition])


def fates(table: pd.DataFrame, topic: EventTopic) -> list[str]:
    """What becomes of each record (design, section 2), in the order of each partition's offsets."""
    is_label = topic.name == LABELS.name
    lateness_us = LATENESS_US[topic.name]
    claims: dict[tuple[int, str], list[int]] = defaultdict(list)
    found = []
    columns = ("source_partition", "event_id", "event_timestamp", "created_timestamp", "poison")
    for partition, event_id, at, created, poison in zip(*(table[name].tolist() for name in columns), strict=True):
        if poison or at - created > AHEAD_US:
            found.append(REFUSED)
            continue
        known = created if is_label else at  # a label is an event of the instant it became known
        claimed = claims[partition, event_id]
        if created - known > lateness_us:
            found.append(TOO_LATE)
        elif any(until >= created for until in claimed):
            found.append(DUPLICATE)
        else:
            claimed.append(known + lateness_us)
            found.append(ACCEPTED)
    return found


def _row(topic: EventTopic, record: Any, texts: dict[str, str]) -> list[Any]:
    """A record as a row; of equal texts only one is kept, in `texts`."""
    place = [record.partition, record.offset, zlib.crc32(record.value or b"")]
    names = (*TEXTS[topic.name], *NUMBERS[topic.name])
    if POISON_HEADER in [(name, bytes(value)) for name, value in record.headers]:
        return [*place, True, None, None, record.timestamp * 1000, *(None for _ in names)]
    event = json.loads(record.value)
    at = datetime.fromisoformat(event["event_timestamp"])
    at_us = (at - EPOCH) // MICROSECOND
    values = [event["event_id"], *(event.get(name) for name in names)]
    event_id, *columns = (texts.setdefault(value, value) if isinstance(value, str) else value for value in values)
    return [*place, False, event_id, at_us, record.timestamp * 1000, *columns]


def _with_columns_of_one_row(table: pd.DataFrame, topic: EventTopic) -> pd.DataFrame:
    """The log's row-level columns, as their documentation says what they are; the log's time is the source's."""
    if topic.name == LABELS.name:
        fraud = table["is_fraud"].eq(1).fillna(value=False)
        frauds = table["fraud_amount_cents"].where(fraud)
        return table.assign(
            fraud_id=table["event_id"].where(fraud), fraud_amount_cents=frauds, event_timestamp=table["created_timestamp"]
        )
    table = table.assign(event_type=table["event_type"].fillna("payment"))
    for kind in ("payment", "hold", "withdrawal", "view"):
        is_kind = table["event_type"] == kind
        table[f"{kind}_id"] = table["event_id"].where(is_kind)
        table[f"{kind}_cents"] = table["amount_cents"].where(is_kind)
    is_small = table["payment_cents"].le(SMALL_CENTS).fillna(value=False)
    table["small_payment_id"] = table["event_id"].where(is_small)
    is_night = (table["event_timestamp"] % DAY_US < NIGHT_ENDS_US).fillna(value=False)
    table["night_id"] = table["event_id"].where(is_night)
    return table
