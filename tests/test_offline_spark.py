"""The distributed engine answers what the local one answers, to the last bit and in the same order."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource, ValueType
from feast.types import String

from plumbline import aggregate, windowed_view
from plumbline.spec import ANY_TYPE_FUNCTIONS, FUNCTIONS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

US = pa.timestamp("us", tz="UTC")
START = datetime(2024, 3, 1, tzinfo=UTC)
USER = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
SHOP = Entity(name="shop", join_keys=["shop_id"], value_type=ValueType.INT64)
EVENTS, ROWS = 4_000, 700


def instants(random: np.random.Generator, count: int) -> np.ndarray:
    """Microseconds within ten days, many of them equal."""
    return int(START.timestamp()) * 1_000_000 + random.integers(0, 10 * 24 * 60, count) * 60_000_000


def log() -> pa.Table:
    """History and streamed rows, with late ones, re-deliveries, nulls and a user who has a third of all events."""
    random = np.random.default_rng(5)
    at = instants(random, EVENTS)
    late = np.where(random.random(EVENTS) < 0.1, random.integers(0, 30 * 3600, EVENTS) * 1_000_000, 0)
    streamed = random.random(EVENTS) < 0.5
    users = np.where(random.random(EVENTS) < 0.3, "hot", random.integers(0, 40, EVENTS).astype(str))
    ids = random.integers(0, EVENTS * 9 // 10, EVENTS)
    return pa.table(
        {
            "user_id": pa.array(users, mask=random.random(EVENTS) < 0.02),
            "shop_id": pa.array(random.integers(0, 9, EVENTS), pa.int32()),
            "event_timestamp": pa.array(at).cast(US),
            "created_timestamp": pa.array(at + late).cast(US),
            "cents": pa.array(random.integers(-(10**15), 10**15, EVENTS), mask=random.random(EVENTS) < 0.1),
            "price": pa.array(random.normal(size=EVENTS) * 10.0 ** random.integers(-8, 8, EVENTS)),
            "category": pa.array(random.choice(["a", "b", "", "é"], EVENTS), mask=random.random(EVENTS) < 0.1),
            "event_id": pa.array([f"e{number}" for number in ids]),
            "source_partition": pa.array(random.integers(0, 3, EVENTS), pa.int32(), mask=~streamed),
            "source_offset": pa.array(np.arange(EVENTS), pa.int64(), mask=~streamed),
        }
    )


@pytest.fixture(scope="module")
def repos(tmp_path_factory: pytest.TempPathFactory, spark: "SparkSession") -> dict[str, FeatureStore]:
    """One log and one table, opened by a store of each engine."""
    path = tmp_path_factory.mktemp("repos")
    table = log()
    for number in range(4):
        folder = path / "payments" / f"event_date=2024-03-0{number + 1}"
        folder.mkdir(parents=True)
        pq.write_table(table.slice(number * 1_000, 1_000), folder / "part-0.parquet", row_group_size=300)
    profile = table.select(["user_id", "event_timestamp", "created_timestamp", "category"]).rename_columns({"category": "tier"})
    pq.write_table(profile.slice(0, 500), path / "profile.parquet")
    return {engine: _opened(path, engine) for engine in ("local", "spark")}


def _opened(path: Path, engine: str) -> FeatureStore:
    repo = path / engine
    repo.mkdir()
    (repo / "feature_store.yaml").write_text(
        f"project: till\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        f'offline_store: {{type: plumbline.offline_store.WindowedOfflineStore, engine: {engine}, spark_master: "local[2]"}}\n'
        "online_store: {type: sqlite, path: online.db}\n"
    )
    times = {"timestamp_field": "event_timestamp", "created_timestamp_column": "created_timestamp"}
    payments = PushSource(name="payments", batch_source=FileSource(path=str(path / "payments"), **times))
    windows = [
        *aggregate("cents", FUNCTIONS, over=["1h", "3d"]),
        *aggregate("price", FUNCTIONS, over="1d"),
        *aggregate("category", ANY_TYPE_FUNCTIONS, over="2d"),
    ]
    views = [
        windowed_view(name="by_user", entities=[USER], source=payments, aggregations=windows),
        windowed_view(name="by_both", entities=[USER, SHOP], source=payments, aggregations=aggregate("cents", "sum", "5d")),
    ]
    tiers = FeatureView(
        name="tiers",
        entities=[USER],
        ttl=timedelta(days=2),
        schema=[Field(name="tier", dtype=String)],
        source=FileSource(path=str(path / "profile.parquet"), **times),
    )
    store = FeatureStore(repo_path=str(repo))
    store.apply([USER, SHOP, payments, *views, tiers])
    return store


def asked() -> pd.DataFrame:
    random = np.random.default_rng(6)
    users = random.choice([*map(str, range(45)), "hot", "hot", None], ROWS)
    return pd.DataFrame(
        {
            "user_id": users,
            "shop_id": random.integers(0, 9, ROWS),
            "event_timestamp": pd.to_datetime(instants(random, ROWS), unit="us", utc=True),
            "number": np.arange(ROWS),
        }
    )


def answers(store: FeatureStore, as_known: bool) -> pa.Table:
    features = [f"{view.name}:{feature.name}" for view in store.list_stream_feature_views() for feature in view.features]
    job = store.get_historical_features(
        asked(), sorted([*features, "tiers:tier"]), full_feature_names=True, filter_by_created_timestamp=as_known
    )
    return job.to_arrow()


@pytest.mark.parametrize("as_known", [False, True], ids=["plain", "as known"])
def test_spark_and_the_local_engine_give_equal_tables(repos, as_known):
    local, distributed = (answers(repos[engine], as_known) for engine in ("local", "spark"))

    assert distributed.schema.types == local.schema.types
    for name in local.column_names:
        assert distributed[name].to_pylist() == local[name].to_pylist(), name
    assert any(value for value in local["by_user__cents_sum_1h"].to_pylist())
    assert local["tiers__tier"].null_count < ROWS


def test_entity_rows_may_be_sql_on_spark(repos, spark):
    spark.createDataFrame(asked().assign(user_id="hot").head(5)).createOrReplaceTempView("asked")
    query = "SELECT user_id, event_timestamp FROM asked ORDER BY number"

    got = repos["spark"].get_historical_features(query, ["by_user:cents_count_3d"]).to_arrow()

    expected = repos["local"].get_historical_features(asked().assign(user_id="hot").head(5), ["by_user:cents_count_3d"])
    assert got["cents_count_3d"].to_pylist() == expected.to_arrow()["cents_count_3d"].to_pylist()


def test_an_overflow_in_a_task_is_the_local_engines_error(tmp_path, spark):
    large = log().slice(0, 3).set_column(4, "cents", pa.array([2**63 - 1] * 3)).set_column(0, "user_id", pa.array(["ann"] * 3))
    path = tmp_path / "payments"
    path.mkdir()
    pq.write_table(large.drop(["source_partition", "source_offset"]), path / "part-0.parquet")
    pq.write_table(log().select(["user_id", "event_timestamp", "created_timestamp", "category"]), tmp_path / "profile.parquet")
    store = _opened(tmp_path, "spark")
    rows = pd.DataFrame({"user_id": ["ann"], "event_timestamp": [START + timedelta(days=20)]})

    total = aggregate("cents", "sum", over="60d")
    payments = store.get_data_source("payments")
    store.apply([windowed_view(name="ever", entities=[USER], source=payments, aggregations=total)])

    with pytest.raises(OverflowError, match=r"View 'ever', feature 'cents_sum_60d'.*'ann'.*leaves int64"):
        store.get_historical_features(rows, ["ever:cents_sum_60d"]).to_arrow()
