"""A small Feast repo around one event log, and how its answers are held against tests/naive.py."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import naive
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import redis
from feast import Entity, FileSource, PushSource, StreamFeatureView, ValueType
from feast.infra.offline_stores.offline_store import RetrievalJob
from histories import KEYS, LATENESS
from naive import ANY_TYPE_FUNCTIONS, DAY, FUNCTIONS, HOUR, MINUTE, SECOND

from plumbline import FeatureStore, aggregate, as_of, windowed_view

UTC_MICROSECONDS = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("merchant_id", pa.string()),
        ("device_id", pa.int64()),
        ("event_timestamp", UTC_MICROSECONDS),
        ("created_timestamp", UTC_MICROSECONDS),
        ("amount_cents", pa.int64()),
        ("balance", pa.int64()),
        ("price", pa.float64()),
        ("category", pa.string()),
        ("event_id", pa.string()),
        ("source_partition", pa.int32()),
        ("source_offset", pa.int64()),
    ]
)
ENTITIES = {
    "user_id": Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING),
    "merchant_id": Entity(name="merchant", join_keys=["merchant_id"], value_type=ValueType.STRING),
    "device_id": Entity(name="device", join_keys=["device_id"], value_type=ValueType.INT64),
}
WITHOUT_SUM = tuple(function for function in FUNCTIONS if function != "sum")
NUMBERS = count()
UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}


@dataclass(frozen=True)
class Declared:
    """Functions of a column over a window, as a test writes them."""

    column: str
    functions: Sequence[str]
    over: str
    every: str | None = None

    @property
    def window(self) -> int:
        return int(self.over[:-1]) * UNITS[self.over[-1]]

    @property
    def slide(self) -> int:
        if self.every is None or self.every == self.over:
            return naive.default_slide(self.window)
        return int(self.every[:-1]) * UNITS[self.every[-1]]

    def names(self) -> dict[str, str]:
        """Feature name -> function."""
        return {f"{self.column}_{function}_{self.over}": function for function in self.functions}


@dataclass(frozen=True)
class View:
    """A windowed view as a test writes it."""

    name: str
    keys: tuple[str, ...]
    windows: tuple[Declared, ...]

    def features(self) -> list[str]:
        """References as Feast takes them: view:feature."""
        return [f"{self.name}:{name}" for window in self.windows for name in window.names()]

    def declared(self, source: PushSource, **options) -> StreamFeatureView:
        aggregations = [a for w in self.windows for a in aggregate(w.column, w.functions, w.over, w.every)]
        entities = [ENTITIES[key] for key in self.keys]
        return windowed_view(name=self.name, entities=entities, source=source, aggregations=aggregations, **options)


BY_USER = View(
    "by_user",
    ("user_id",),
    (
        Declared("amount_cents", FUNCTIONS, "10m"),
        Declared("amount_cents", FUNCTIONS, "1d"),
        Declared("amount_cents", FUNCTIONS, "7d", "1d"),
        Declared("price", FUNCTIONS, "1h"),
        Declared("price", FUNCTIONS, "3d"),
        Declared("category", ANY_TYPE_FUNCTIONS, "1h"),
        Declared("category", ANY_TYPE_FUNCTIONS, "2d", "1d"),
        Declared("balance", WITHOUT_SUM, "10m"),
        Declared("balance", WITHOUT_SUM, "3d", "1h"),
    ),
)
BY_USER_AND_MERCHANT = View(
    "by_user_and_merchant",
    ("user_id", "merchant_id"),
    (Declared("amount_cents", ("count", "sum", "last"), "1h"), Declared("price", ("mean", "first"), "2d", "2d")),
)
BY_MERCHANT = View(
    "by_merchant",
    ("merchant_id",),
    (Declared("amount_cents", FUNCTIONS, "1d"), Declared("category", ("last", "count_distinct"), "3d")),
)
BY_DEVICE = View("by_device", ("device_id",), (Declared("amount_cents", ("sum", "max", "std"), "3d", "1h"),))
NOVELTY = View(
    "novelty",
    ("user_id",),
    (
        Declared("event_id", ANY_TYPE_FUNCTIONS, "1d"),
        Declared("merchant_id", ANY_TYPE_FUNCTIONS, "7d", "1d"),
        Declared("device_id", FUNCTIONS[3:], "1h"),
        Declared("user_id", ("count",), "3d"),
    ),
)
"""Windows over ids and keys, the view's own included."""

VIEWS = (BY_USER, BY_USER_AND_MERCHANT, BY_MERCHANT, BY_DEVICE)


class Lab:
    """A temporary repo: its log is the folder `log`, its configuration has the three plug-ins."""

    def __init__(
        self, path: Path, redis: str, engine: str = "engine: local", schema: pa.Schema = SCHEMA, redis_type: str = "redis"
    ):
        path.mkdir(parents=True, exist_ok=True)
        self.path, self.schema, self.log, self.redis = path, schema, path / "log", redis
        (path / "feature_store.yaml").write_text(
            f"project: lab_{next(NUMBERS)}\nprovider: local\n"
            "registry: registry.db\nentity_key_serialization_version: 3\n"
            f"offline_store: {{type: plumbline.offline_store.WindowedOfflineStore, {engine}}}\n"
            f"online_store: {{type: plumbline.online_store.WindowedOnlineStore, redis_type: {redis_type}, "
            f'connection_string: "{redis}"}}\n'
            f"batch_engine: {{type: plumbline.compute_engine.WindowedComputeEngine}}\n"
        )
        self.write([])

    def write(self, events: Iterable[dict], name: str = "part-0") -> None:
        self.log.mkdir(exist_ok=True)
        pq.write_table(to_table(events, self.schema), self.log / f"{name}.parquet")

    def source(self, name: str = "events", path: Path | None = None, **options) -> PushSource:
        options = {"timestamp_field": "event_timestamp", "created_timestamp_column": "created_timestamp"} | options
        tags = options.pop("tags", {"allowed_lateness": "1d"})
        batch = FileSource(name=f"{name}_log", path=str(path or self.log), **options)
        return PushSource(name=name, batch_source=batch, tags=tags)

    def open(self) -> FeatureStore:
        return FeatureStore(repo_path=str(self.path))

    def applied(self, views: Sequence[View] = VIEWS) -> FeatureStore:
        """A store in which the views over the log are applied."""
        store, source = self.open(), self.source()
        store.apply([*entities(views), source, *(view.declared(source) for view in views)])
        return store


def entities(views: Sequence[View]) -> list[Entity]:
    return [ENTITIES[key] for key in KEYS if any(key in view.keys for view in views)]


def to_table(events: Iterable[dict], schema: pa.Schema = SCHEMA) -> pa.Table:
    events = list(events)
    return pa.table([pa.array([e[field.name] for e in events], field.type) for field in schema], schema=schema)


def to_frame(rows: Sequence[dict], keys: Sequence[str] = KEYS) -> pd.DataFrame:
    """Entity rows as Feast takes them; integer keys are nullable integers."""
    types = {"device_id": "Int64"}
    columns = {key: pd.array([row[key] for row in rows], dtype=types.get(key, "object")) for key in keys}
    return pd.DataFrame(columns | {"event_timestamp": pd.to_datetime([row["at"] for row in rows], unit="us", utc=True)})


def instant(microseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def references(views: Sequence[View]) -> list[str]:
    return [feature for view in views for feature in view.features()]


def history(store: FeatureStore, rows: Sequence[dict], views: Sequence[View] = VIEWS, as_known: bool = False) -> RetrievalJob:
    return store.get_historical_features(
        entity_df=to_frame(rows),
        features=references(views),
        full_feature_names=True,
        filter_by_created_timestamp=as_known,
    )


def online(store: FeatureStore, rows: Sequence[dict], at: int | None = None, views: Sequence[View] = VIEWS) -> list[dict]:
    """What the store answers now, or at an instant, one dict a row."""
    entity_rows = [{key: row[key] for key in KEYS} for row in rows]
    if at is None:
        response = store.get_online_features(references(views), entity_rows, full_feature_names=True)
    else:
        with as_of(instant(at)):
            response = store.get_online_features(references(views), entity_rows, full_feature_names=True)
    columns = response.to_dict()
    return [{name: values[number] for name, values in columns.items()} for number in range(len(rows))]


def differences(
    answers: Sequence[dict],
    events: Sequence[dict],
    rows: Sequence[dict],
    views: Sequence[View] = VIEWS,
    as_known: bool = False,
    at: int | None = None,
    lateness: int = LATENESS,
    inexact: bool = False,
) -> list[str]:
    """Every feature of every row that is not what the definition says; `at` replaces the rows' own instants."""
    if len(answers) != len(rows):
        return [f"{len(answers)} answers to {len(rows)} rows"]
    counted = naive.accepted(events, lateness)
    found = []
    for number, (answer, row) in enumerate(zip(answers, rows, strict=True)):
        instant_us = row["at"] if at is None else at
        for view in views:
            key = {name: row[name] for name in view.keys}
            for window in view.windows:
                values = naive.inputs(window.column, window.window, window.slide, counted, key, instant_us, as_known)
                for name, function in window.names().items():
                    got = answer[f"{view.name}__{name}"]
                    if not naive.equal(got, function, values):
                        expected = naive.result(function, values)
                        where = f"row {number} {key} at {instant_us}: {view.name}:{name}"
                        found.append(f"{where} is {got!r}, not {expected!r} of {values}")
    return found


NOON = 1_717_243_200 * SECOND
"""2024-06-01 12:00 UTC."""


def event(at: int, number: int = 0, **changes: Any) -> dict:
    """A payment of 100 cents by ann at 3, history unless told otherwise."""
    return {
        "user_id": "ann",
        "merchant_id": "3",
        "device_id": 7,
        "event_timestamp": at,
        "created_timestamp": at + SECOND,
        "amount_cents": 100,
        "balance": 5,
        "price": 1.0,
        "category": "a",
        "event_id": f"e{number}",
        "source_partition": None,
        "source_offset": None,
    } | changes


def streamed(at: int, offset: int, number: int = 0, partition: int = 0, **changes: Any) -> dict:
    """The same, delivered by a topic."""
    return event(at, number, source_partition=partition, source_offset=offset, **changes)


def row(at: int, **changes: Any) -> dict:
    """An entity row that asks about ann."""
    return {"user_id": "ann", "merchant_id": "3", "device_id": 7, "at": at} | changes


def column(job: RetrievalJob, name: str) -> list:
    return job.to_arrow().column(name).to_pylist()


def client(lab: Lab) -> redis.Redis:
    """A connection of the test's own to the store."""
    host, port = lab.redis.split(":")
    return redis.Redis(host=host, port=int(port))


def emptied(lab: Lab, store: FeatureStore) -> FeatureStore:
    """The same store, with nothing in it and nothing in its log."""
    with client(lab) as everything:
        everything.flushall()
    shutil.rmtree(lab.log)
    lab.write([])
    return store


def frame(events: Sequence[dict]) -> pd.DataFrame:
    """Raw events as they are pushed: integers stay integers beside nulls; rows without offsets lack those columns."""
    types = {"int64": pd.Int64Dtype(), "int32": pd.Int32Dtype()}
    pushed = to_table(events).to_pandas(types_mapper=lambda arrow: types.get(str(arrow)))
    placed = any(naive.streamed(e) for e in events)
    return pushed if placed else pushed.drop(columns=["source_partition", "source_offset"])


def materialize(store: FeatureStore) -> None:
    """feast materialize, with a range that for windowed views bounds nothing."""
    store.materialize(datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC))


def flipped(state: bytes, bit: int) -> bytes:
    """A stored value with one bit turned."""
    return bytes(byte ^ (1 << bit % 8 if place == bit // 8 else 0) for place, byte in enumerate(state))
