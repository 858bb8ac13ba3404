"""A stock Feast repo's definitions, and one view more: windows over raw trips."""

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, ValueType
from feast.types import Float32, Int64

from plumbline import aggregate, windowed_view

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)

driver_hourly_stats = FeatureView(
    name="driver_hourly_stats",
    entities=[driver],
    ttl=timedelta(days=1),
    schema=[Field(name="conv_rate", dtype=Float32), Field(name="avg_daily_trips", dtype=Int64)],
    source=FileSource(
        name="driver_hourly_stats_source",
        path="data/driver_stats.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    ),
)

driver_trips = windowed_view(
    name="driver_trips",
    entities=[driver],
    source=PushSource(
        name="trips",
        batch_source=FileSource(
            name="trips_log",
            path="data/trips.parquet",
            timestamp_field="event_timestamp",
            created_timestamp_column="created",
        ),
    ),
    aggregations=[
        *aggregate("fare_cents", ["count", "sum", "max"], over=["1h", "1d"]),
        *aggregate("rider_id", "count_distinct", over="7d"),
    ],
)

driver_activity = FeatureService(name="driver_activity", features=[driver_hourly_stats, driver_trips])
