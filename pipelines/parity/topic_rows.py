"""Records of the topics that the log should hold and does not: looked for only where an answer differs."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from kafka import KafkaConsumer, TopicPartition

from feature_repo import event_schema, row_level
from feature_repo.kafka_address import client_options
from feature_repo.settings import Settings
from pipelines.applied_events import Asked
from plumbline.view_spec import ViewSpec

SCHEMAS = {"transactions": event_schema.TRANSACTIONS, "labels": event_schema.LABELS}
ADD_COLUMNS = {"transactions": row_level.add_columns, "labels": row_level.add_label_columns}
IDS = ("user_id", "merchant_id", "device_id")
POLL_MS = 500
ANSWERS_WITHIN_MS = 5_000


class TopicRows:
    """The records about some entities, of either event topic; a topic is read when first asked about."""

    def __init__(self, settings: Settings, entities: Iterable[str]) -> None:
        """entities  ids of users, merchants and devices: a record that names none of them is not kept"""
        self._servers, self._entities = client_options(settings.kafka_bootstrap_servers), frozenset(entities)
        self._rows: dict[str, list[dict[str, Any]]] = {}

    def unlogged(self, spec: ViewSpec, asked: Asked, logged: pa.Table) -> pa.Table:
        """Events of an entity that an answer counts by its positions and the log lacks.

        logged  the rows of the log that the answer's positions reach, as plumbline.event_log reads them
        returns  rows of the same columns; none for a log that has no topic of its own
        """
        topic = spec.source.name
        if topic not in SCHEMAS:
            return logged.slice(0, 0)
        if topic not in self._rows:
            self._rows[topic] = list(self._read(topic))
        places = set(zip(logged["source_partition"].to_pylist(), logged["source_offset"].to_pylist(), strict=True))
        rows = [
            row
            for row in self._rows[topic]
            if (place := (row["source_partition"], row["source_offset"])) not in places
            and place[1] <= asked.ends.get(place[0], -1)
            and tuple(row.get(key) for key in spec.join_keys) == asked.keys
        ]
        table = _as_logged(topic, rows)
        time = table[spec.source.timestamp_field]
        table = table.set_column(table.column_names.index("event_timestamp"), "event_timestamp", time)
        return table.select(logged.column_names).filter(pa.array([at < asked.at for at in time.to_pylist()], pa.bool_()))

    def _read(self, topic: str) -> Iterator[dict[str, Any]]:
        """The topic's records about the entities, those that are JSON objects with a time."""
        with KafkaConsumer(**self._servers, enable_auto_commit=False, bootstrap_timeout_ms=ANSWERS_WITHIN_MS) as consumer:
            partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
            ends = consumer.end_offsets(partitions)
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            while any(consumer.position(partition) < end for partition, end in ends.items()):
                for records in consumer.poll(timeout_ms=POLL_MS).values():
                    for record in records:
                        row = _row(record)
                        if row is not None and not self._entities.isdisjoint(map(row.get, IDS)):
                            yield row


def _row(record: Any) -> dict[str, Any] | None:
    try:
        payload = json.loads(record.value or b"")
        at = datetime.fromisoformat(payload["event_timestamp"])
    except (ValueError, TypeError, KeyError):
        return None
    appended = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=record.timestamp)
    if not all(isinstance(payload.get(name), str | None) for name in IDS):
        return None
    place = {"source_partition": record.partition, "source_offset": record.offset}
    return {**payload, "event_timestamp": at, "created_timestamp": appended, **place}


def _as_logged(topic: str, rows: list[dict[str, Any]]) -> pa.Table:
    """Rows in the log's schema; a record whose values do not fit was refused at the door, so it is no row."""
    fitting = []
    for row in rows:
        row["event_type"] = row.get("event_type") or "payment"
        try:
            fitting.append(pa.Table.from_pylist([row], SCHEMAS[topic]))
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            continue
    table = pa.concat_tables([SCHEMAS[topic].empty_table(), *fitting])
    return ADD_COLUMNS[topic](table).select(SCHEMAS[topic].names)
