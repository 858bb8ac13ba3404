"""The two topics whose records are rows of an event log, and the topics written beside them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from feature_repo import event_schema, row_level
from feature_repo.settings import Settings
from plumbline.durations import microseconds

DEAD_LETTER = "transactions.dead-letter"


@dataclass(frozen=True)
class EventTopic:
    """A topic that feeds an event log.

    name         the topic, the push source of the views and the folder under $DATA_DIR/events
    schema       the log's columns
    time_column  the source's timestamp_field: lateness counts from it
    add_columns  adds the columns that are a function of one row
    """

    name: str
    schema: pa.Schema
    time_column: str
    add_columns: Callable[[pa.Table], pa.Table]

    def log_path(self, settings: Settings) -> Path:
        return settings.events_dir / self.name


TRANSACTIONS = EventTopic("transactions", event_schema.TRANSACTIONS, "event_timestamp", row_level.add_columns)
LABELS = EventTopic("labels", event_schema.LABELS, "created_timestamp", row_level.add_label_columns)
EVENT_TOPICS = (TRANSACTIONS, LABELS)


def allowed_lateness_us(topic: EventTopic) -> int:
    """How long after its time an event of the topic may arrive and still count, in microseconds."""
    return microseconds(event_schema.ALLOWED_LATENESS[topic.name])
