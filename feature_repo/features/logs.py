"""Where the events are: the two logs that windowed views read, batch and stream alike."""

import pyarrow as pa
from feast import Field, FileSource, PushSource
from feast.type_map import pa_to_feast_value_type
from feast.types import from_value_type

from feature_repo.event_schema import ALLOWED_LATENESS, LABELS, TRANSACTIONS
from feature_repo.settings import Settings

SETTINGS = Settings.from_env()


def columns(schema: pa.Schema) -> list[Field]:
    """The log's columns as Feast fields, so that views can be declared before the log exists.

    Timestamps are left out: Feast takes them from the source.
    """
    return [
        Field(name=field.name, dtype=from_value_type(pa_to_feast_value_type(str(field.type))))
        for field in schema
        if not pa.types.is_timestamp(field.type)
    ]


transactions = PushSource(
    name="transactions",
    batch_source=FileSource(
        name="transactions_log",
        path=str(SETTINGS.transactions_path),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    ),
    tags={"allowed_lateness": ALLOWED_LATENESS["transactions"]},
    description="Views, holds, payments and withdrawals: history, and the topic of the same name.",
)
transaction_columns = columns(TRANSACTIONS)

labels = PushSource(
    name="labels",
    batch_source=FileSource(
        name="labels_log",
        path=str(SETTINGS.labels_path),
        timestamp_field="created_timestamp",  # a label is an event of the instant it became known
    ),
    tags={"allowed_lateness": ALLOWED_LATENESS["labels"]},
    description="What was reported about transactions, at the instant it was reported.",
)
label_columns = columns(LABELS)
