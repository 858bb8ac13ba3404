"""The Feast repos that are measured: one with windowed views over a log, and one as Feast ships."""

from collections.abc import Sequence
from pathlib import Path

import feast
from feast import Entity, FeatureView, FileSource, PushSource, StreamFeatureView, ValueType
from feast.aggregation import Aggregation
from feast.repo_config import RepoConfig

from plumbline import FeatureStore, aggregate, windowed_view

USER = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
TIMES = {"timestamp_field": "event_timestamp", "created_timestamp_column": "created_timestamp"}
WINDOWS = ("5m", "1h", "1d", "7d", "30d")
FUNCTIONS = ("count", "sum", "max")
NOWHERE = "127.0.0.1:1"
"""For what needs no online store."""


def windowed_store(
    folder: Path, log: Path, views: dict[str, Sequence[Aggregation]], redis: str = NOWHERE, engine: str = "local", **tags: str
) -> FeatureStore:
    """A store with windowed views over the log, applied; tags are the source's, as allowed_lateness."""
    store = FeatureStore(
        config=_config(folder / engine, WINDOWED | {"offline_store": WINDOWED["offline_store"] | {"engine": engine}}, redis)
    )
    source = PushSource(name="events", batch_source=FileSource(name="log", path=str(log), **TIMES), tags=tags)
    declared = [
        windowed_view(name=name, entities=[USER], source=source, aggregations=aggregations)
        for name, aggregations in views.items()
    ]
    store.apply([USER, source, *declared])
    return store


def stock_store(folder: Path, kind: str, views: Sequence[FeatureView], redis: str) -> feast.FeatureStore:
    """A store as Feast ships, applied: `local` (Dask and the local engine) or `spark` (Spark for both), Redis online."""
    store = feast.FeatureStore(config=_config(folder / f"stock_{kind}", STOCK[kind], redis))
    store.apply([USER, *views])
    return store


def references(views: Sequence[StreamFeatureView | FeatureView]) -> list[str]:
    """Every feature of the views, as Feast takes them."""
    keys = {USER.join_key}
    return [f"{view.name}:{field.name}" for view in views for field in view.features if field.name not in keys]


def five_windows(every: str | None) -> list[Aggregation]:
    """Count, sum and largest amount over five windows; `every` is the resolution of their tails."""
    return [a for over in WINDOWS for a in aggregate("amount_cents", FUNCTIONS, over, every)]


WINDOWED = {
    "offline_store": {"type": "plumbline.offline_store.WindowedOfflineStore"},
    "online_store": {"type": "plumbline.online_store.WindowedOnlineStore"},
    "batch_engine": {"type": "plumbline.compute_engine.WindowedComputeEngine"},
}
STOCK = {
    "local": {"offline_store": {"type": "dask"}, "online_store": {"type": "redis"}, "batch_engine": {"type": "local"}},
    "spark": {"offline_store": {"type": "spark"}, "online_store": {"type": "redis"}, "batch_engine": {"type": "spark.engine"}},
}


def _config(folder: Path, parts: dict, redis: str) -> RepoConfig:
    folder.mkdir(parents=True)
    return RepoConfig(
        project=f"bench_{folder.name}",
        provider="local",
        registry=str(folder / "registry.db"),
        repo_path=folder,
        entity_key_serialization_version=3,
        **(parts | {"online_store": parts["online_store"] | {"connection_string": redis}}),
    )
