"""Who a user is: slowly changing facts, newest known row first; their columns are read from what was loaded."""

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
from feast import Entity, FeatureView, Field, FileSource
from feast.types import Int64, String

from feature_repo.features.entities import user
from feature_repo.features.logs import SETTINGS, columns
from plumbline.spec import log_schema
from plumbline.view_spec import LogSource

TTL = timedelta(days=365)
ATTRIBUTES_PATH = SETTINGS.events_dir / "user_attributes"
ROW_COLUMNS = ("user_id", "event_timestamp", "created_timestamp", "event_id", "source_partition", "source_offset")
DEFAULT_SCHEMA = [
    Field(name="credit_score", dtype=Int64),
    Field(name="income_cents", dtype=Int64),
    Field(name="country", dtype=String),
]
"""What `user_profile` is declared with while nothing was loaded, so that `feast apply` works first."""


def loaded_fields(folder: Path) -> list[Field]:
    """The columns of its own that a folder of slowly changing rows holds; empty where nothing was loaded."""
    schema = log_schema(LogSource(folder.name, str(folder), "event_timestamp", None, 0))
    if schema is None:
        return []
    return columns(pa.schema([field for field in schema if field.name not in ROW_COLUMNS]))


def slowly_changing(
    name: str, folder: Path, description: str, entities: list[Entity], default: list[Field] | None = None
) -> FeatureView | None:
    """A view of the newest row of each entity within TTL; `folder` holds Parquet with its keys and both timestamps.

    Without entities there is one row at a time for everybody.

    Where nothing was loaded the view has the default fields and is offline only, so that `feast materialize` does not
    look for its rows; without a default there is no view.
    """
    loaded = loaded_fields(folder)
    fields = loaded or default
    if not fields:
        return None
    return FeatureView(
        name=name,
        entities=entities,
        ttl=TTL,
        schema=[*(Field(name=entity.join_key, dtype=String) for entity in entities), *fields],
        source=FileSource(
            name=f"{name}_log",
            path=str(folder),
            timestamp_field="event_timestamp",
            created_timestamp_column="created_timestamp",
        ),
        online=bool(loaded),
        description=description,
    )


user_profile = slowly_changing(
    "user_profile", SETTINGS.profiles_path, "A user's profile as it was known.", [user], DEFAULT_SCHEMA
)
user_attributes = slowly_changing("user_attributes", ATTRIBUTES_PATH, "Further columns of a mapped source.", [user])
loaded_profiles = [view for view in (user_profile, user_attributes) if view is not None and view.online]
"""The slowly changing views that have rows behind them: what the feature services take."""
