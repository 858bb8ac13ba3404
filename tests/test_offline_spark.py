"""The distributed engine answers what the local one answers, in the same order."""

import math
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource, ValueType
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Int64, String

from plumbline import aggregate, entity_split, scratch, spark_rows, windowed_view
from plumbline import spark as engine
from plumbline.delivery_claims import is_mixed, marks_of
from plumbline.entity_keys import EntityKeyError
from plumbline.parcels import Carrier
from plumbline.spec import ANY_TYPE_FUNCTIONS, FUNCTIONS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

US = pa.timestamp("us", tz="UTC")
START = datetime(2024, 3, 1, tzinfo=UTC)
USER = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
SHOP = Entity(name="shop", join_keys=["shop_id"], value_type=ValueType.INT64)
EVENTS, ROWS = 4_000, 700
TIMES = {"timestamp_field": "event_timestamp", "created_timestamp_column": "created_timestamp"}


class Deliveries(NamedTuple):
    """Two deliveries as (user, id, partition, offset, hours until the topic had it); whether one may decide about the other."""

    rows: tuple[tuple[str, str, int, int, int], ...]
    mixed: bool


DELIVERIES = {
    "no id twice": Deliveries((("ann", "e1", 0, 0, 3), ("ben", "e2", 0, 1, 3)), mixed=False),
    "an id again for another user": Deliveries((("ann", "e1", 0, 0, 3), ("ben", "e1", 0, 1, 3)), mixed=True),
    "a record again with another id": Deliveries((("ann", "e1", 0, 0, 3), ("ben", "e2", 0, 0, 3)), mixed=True),
    "a record again after one too late": Deliveries((("ann", "e1", 0, 0, 30), ("ben", "e2", 0, 0, 3)), mixed=True),
    "an id again in another partition": Deliveries((("ann", "e1", 0, 0, 3), ("ben", "e1", 1, 0, 3)), mixed=False),
}


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch):
    """Four thousand events are enough for several buckets, a split entity and several files."""
    monkeypatch.setattr(entity_split, "PART_ROWS", 100)
    monkeypatch.setattr(engine, "BUCKET_ROWS", range(2_000, 5_000))
    monkeypatch.setattr(engine, "FILE_ROWS", range(100, 200))
    monkeypatch.setattr(spark_rows, "CHUNK_ROWS", range(200, 300))


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


def delivered(rows: Iterable[tuple[str, str, int, int, int]], number: int = 0) -> pa.Table:
    """The rows of some deliveries, all of one instant, with users and partitions of their own."""
    users, ids, partitions, offsets, hours = zip(*rows, strict=True)
    return pa.table(
        {
            "user_id": [f"{user}{number}" for user in users],
            "event_id": ids,
            "source_partition": pa.array([2 * number + partition for partition in partitions], pa.int32()),
            "source_offset": offsets,
            "event_timestamp": pa.array([START] * len(ids), US),
            "created_timestamp": pa.array([START + timedelta(hours=late) for late in hours], US),
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


def _repo(path: Path, engine: str) -> FeatureStore:
    repo = path / engine
    repo.mkdir()
    (repo / "feature_store.yaml").write_text(
        f"project: till\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        f"offline_store: {{type: plumbline.offline_store.WindowedOfflineStore, engine: {engine}, staging_location: staging}}\n"
        "online_store: {type: sqlite, path: online.db}\n"
    )
    return FeatureStore(repo_path=str(repo))


def _opened(path: Path, engine: str) -> FeatureStore:
    payments = PushSource(name="payments", batch_source=FileSource(path=str(path / "payments"), **TIMES))
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
        source=FileSource(path=str(path / "profile.parquet"), **TIMES),
    )
    newest = FeatureView(
        name="newest",
        entities=[],
        ttl=timedelta(days=3),
        schema=[Field(name="tier", dtype=String)],
        source=FileSource(name="all_tiers", path=str(path / "profile.parquet"), **TIMES),
    )

    @on_demand_feature_view(sources=[views[0]], schema=[Field(name="busy", dtype=Int64)], mode="pandas")
    def busy(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"busy": (inputs["cents_count_3d"] > 1).astype("int64")})

    store = _repo(path, engine)
    store.apply([USER, SHOP, payments, *views, tiers, newest, busy])
    return store


def asked() -> pd.DataFrame:
    random = np.random.default_rng(6)
    users = np.where(random.random(ROWS) < 0.4, "hot", random.choice([*map(str, range(45)), None], ROWS))
    return pd.DataFrame(
        {
            "user_id": users,
            "shop_id": random.integers(0, 9, ROWS),
            "event_timestamp": pd.to_datetime(instants(random, ROWS), unit="us", utc=True),
            "number": np.arange(ROWS),
        }
    )


def assert_equal(got: pa.Table, expected: pa.Table) -> None:
    """Integers and text are equal; floats, whose sums depend on where a task begins, within 1e-9 of one another."""
    assert got.column_names == expected.column_names
    for name in expected.column_names:
        pairs = list(zip(got[name].to_pylist(), expected[name].to_pylist(), strict=True))
        exact = not pa.types.is_floating(expected[name].type)
        assert [pair for pair in pairs if pair[0] != pair[1] and (exact or not nearly(*pair))] == [], name


def nearly(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and math.isclose(one, other, rel_tol=1e-9)


def job(store: FeatureStore, entity_df: object, as_known: bool = False, *more: str) -> RetrievalJob:
    features = [f"{view.name}:{feature.name}" for view in store.list_stream_feature_views() for feature in view.features]
    wanted = [*sorted([*features, "tiers:tier", "newest:tier"]), *more]
    return store.get_historical_features(entity_df, wanted, full_feature_names=True, filter_by_created_timestamp=as_known)


@pytest.mark.parametrize("as_known", [False, True], ids=["plain", "as known"])
def test_spark_and_the_local_engine_give_equal_tables(repos, as_known):
    local, distributed = (job(repos[engine], asked(), as_known).to_arrow() for engine in ("local", "spark"))

    assert distributed.schema.types == local.schema.types
    assert_equal(distributed, local)
    assert any(value for value in local["by_user__cents_sum_1h"].to_pylist())
    assert local["tiers__tier"].null_count < ROWS
    assert local["newest__tier"].null_count < ROWS


def test_what_travels_in_sparks_rows_on_a_cluster_is_what_travels_in_files_on_one_machine(repos, tmp_path, monkeypatch):
    features = ["by_user:category_last_2d", "by_user:cents_sum_3d"]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(scratch, "MEMORY", tmp_path)

    in_files = repos["spark"].get_historical_features(asked(), features).to_arrow()
    left = list(tmp_path.glob("plumbline-*"))
    monkeypatch.setattr(engine, "ONE_MACHINE", re.compile("a cluster"))
    in_rows = repos["spark"].get_historical_features(asked(), features).to_arrow()

    assert in_files.equals(in_rows)
    assert left == []


@pytest.mark.parametrize(("kept_free", "place"), [(0.0, "memory"), (1.0, "disk")])
def test_what_travels_in_files_is_in_memory_while_there_is_plenty_else_on_disk(kept_free, place, tmp_path, monkeypatch):
    for name in ("memory", "disk"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(scratch, "MEMORY", tmp_path / "memory")
    monkeypatch.setattr(scratch, "KEPT_FREE", kept_free)

    with scratch.scratch_folders(str(tmp_path / "disk")) as folders:
        kept = Path(Carrier(folders).keep([pa.table({"numbers": [1]})]))

        assert kept.is_relative_to(tmp_path / place)
    assert list(tmp_path.glob("*/*")) == []


def test_what_a_killed_process_left_in_memory_is_removed_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "MEMORY", tmp_path)
    left = tmp_path / "plumbline-left" / scratch.LOCK
    left.parent.mkdir()
    left.touch()
    os.utime(left, (0, 0))

    with scratch.scratch_folders(None) as used:
        os.utime(Path(used[0], scratch.LOCK), (0, 0))
        with scratch.scratch_folders(None):
            assert Path(used[0]).exists()

    assert not left.parent.exists()


@pytest.mark.parametrize(("case", "mixed"), [(name, case.mixed) for name, case in DELIVERIES.items()], ids=DELIVERIES)
def test_a_bucket_judges_its_own_deliveries_unless_they_may_decide_about_others(case, mixed):
    table = delivered(DELIVERIES[case].rows)

    assert is_mixed(marks_of(table, homes=np.array([0, 1]))) is mixed
    assert not is_mixed(marks_of(table, homes=np.array([1, 1])))


def test_a_delivery_decides_about_others_whatever_task_has_them(tmp_path, spark, monkeypatch):
    monkeypatch.setattr(engine, "BUCKET_ROWS", range(1, 2))
    tables = [delivered(case.rows, number) for number, case in enumerate(DELIVERIES.values())]
    (tmp_path / "payments").mkdir()
    pq.write_table(pa.concat_tables(tables), tmp_path / "payments" / "part-0.parquet")
    users = [f"{user}{number}" for number in range(len(tables)) for user in ("ann", "ben")]
    rows = pd.DataFrame({"user_id": users, "event_timestamp": [START + timedelta(hours=1)] * len(users)})
    view = windowed_view(
        name="by_user",
        entities=[USER],
        source=PushSource(name="payments", batch_source=FileSource(path=str(tmp_path / "payments"), **TIMES)),
        aggregations=aggregate("event_id", "count", over="3d"),
    )

    counts = {}
    for name in ("local", "spark"):
        store = _repo(tmp_path, name)
        store.apply([USER, view])
        counts[name] = store.get_historical_features(rows, ["by_user:event_id_count_3d"]).to_arrow()

    assert counts["spark"].equals(counts["local"])
    assert counts["local"]["event_id_count_3d"].to_pylist() == [1, 1, 1, 0, 1, 0, 0, 1, 1, 1]


def test_an_entity_with_very_many_rows_is_several_tasks_and_each_sees_what_its_rows_see(monkeypatch):
    monkeypatch.setattr(entity_split, "PART_ROWS", 30)
    random = np.random.default_rng(7)
    users, at = random.choice([1, 1, 1, 2, 3, 4], 200).astype(np.uint64), random.integers(0, 1_000, 200)
    authors, happened = random.choice([1, 1, 2, 3, 4, 5], 300).astype(np.uint64), random.integers(-100, 1_000, 300)

    split = entity_split.split_of(users, at, 200, others=2, reach_us=50)
    rows, (taken, events) = split.of_rows(users, at), split.of_events(authors, happened)

    assert len(set(rows[users == 1])) > 2
    assert max(rows) < split.count
    for bucket, user, instant in zip(rows, users, at, strict=True):
        seen = taken[events == bucket]
        needed = np.flatnonzero((authors == user) & (happened < instant) & (happened >= instant - 50))
        assert set(needed) <= set(seen)
    copies = np.bincount(taken, minlength=300)
    assert copies[authors != 1].tolist() == [1] * int((authors != 1).sum())
    assert copies[authors == 1].max() < len(set(rows[users == 1]))


def test_spark_saves_a_training_set_from_its_tasks_in_the_order_of_the_rows(repos, monkeypatch):
    store, path = repos["spark"], repos["spark"].repo_path / "saved" / "training"
    expected = job(repos["local"], asked(), False, "busy:busy").to_arrow()
    monkeypatch.setattr(engine.History, "to_arrow", None)  # the driver is not asked for the rows

    asked_for = job(store, asked(), False, "busy:busy")
    store.create_saved_dataset(asked_for, "training", SavedDatasetFileStorage(str(path)))

    files = sorted(path.iterdir())
    saved = pa.concat_tables([pq.read_table(file) for file in files])
    assert len(files) > 2
    assert_equal(saved, expected)
    assert store.get_saved_dataset("training").to_df().shape[0] == ROWS


def test_a_saved_training_set_is_replaced_only_when_told_to(repos):
    store = repos["spark"]
    storage = SavedDatasetFileStorage(str(store.repo_path / "saved" / "again"))
    first = store.get_historical_features(asked().head(3), ["by_user:cents_count_3d"])
    store.create_saved_dataset(first, "again", storage)

    second = store.get_historical_features(asked().head(2), ["by_user:cents_count_3d"])

    with pytest.raises(SavedDatasetLocationAlreadyExists):
        store.create_saved_dataset(second, "again", storage)
    assert store.create_saved_dataset(second, "again", storage, allow_overwrite=True).to_df().shape[0] == 2
    assert [path.name for path in (store.repo_path / "saved").glob(".again*")] == []


@pytest.mark.parametrize("engine_name", ["local", "spark"])
def test_a_result_is_exported_below_the_staging_location(repos, engine_name):
    store = repos[engine_name]
    asked_for = store.get_historical_features(asked(), ["by_user:cents_count_3d"])

    paths = asked_for.to_remote_storage()

    exported = pa.concat_tables([pq.read_table(path) for path in paths])
    assert asked_for.supports_remote_storage_export()
    assert all(Path(path).is_relative_to(store.repo_path / "staging") for path in paths)
    assert exported.schema.field("event_timestamp").type == US
    assert exported.equals(asked_for.to_arrow().cast(exported.schema))


@pytest.mark.parametrize("engine_name", ["local", "spark"])
def test_days_that_no_window_reaches_are_not_opened(repos, engine_name, tmp_path):
    table = log()
    for day, content in (("2024-02-01", None), ("2024-03-01", table.slice(0, 500)), ("2024-06-01", None)):
        folder = tmp_path / "payments" / f"event_date={day}"
        folder.mkdir(parents=True)
        if content is None:
            (folder / "part-0.parquet").write_bytes(b"no parquet")
        else:
            pq.write_table(content, folder / "part-0.parquet")
    payments = PushSource(name="pruned", batch_source=FileSource(path=str(tmp_path / "payments"), **TIMES))
    view = windowed_view(
        name="pruned",
        entities=[USER],
        source=payments,
        aggregations=aggregate("cents", "count", over="3d"),
        schema=[Field(name="cents", dtype=Int64), Field(name="user_id", dtype=String)],
    )
    (tmp_path / "feature_store.yaml").write_text((repos[engine_name].repo_path / "feature_store.yaml").read_text())
    store = FeatureStore(repo_path=str(tmp_path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plumbline.spec.log_schema", lambda *_: None)
        store.apply([USER, payments, view])
        answer = store.get_historical_features(asked().head(50), ["pruned:cents_count_3d"]).to_arrow()

    assert sum(answer["cents_count_3d"].to_pylist()) > 0


def test_entity_rows_may_be_sql_on_spark(repos, spark):
    spark.createDataFrame(asked().assign(user_id="hot").head(5)).createOrReplaceTempView("asked")
    query = "SELECT user_id, event_timestamp FROM asked ORDER BY number"

    got = repos["spark"].get_historical_features(query, ["by_user:cents_count_3d"]).to_arrow()

    expected = repos["local"].get_historical_features(asked().assign(user_id="hot").head(5), ["by_user:cents_count_3d"])
    assert got["cents_count_3d"].to_pylist() == expected.to_arrow()["cents_count_3d"].to_pylist()


def test_the_rows_of_a_query_come_back_whole_and_in_its_order(repos, spark):
    frame = spark.createDataFrame(pa.Table.from_pandas(asked(), preserve_index=False)).repartition(3).orderBy("number")

    got, expected = job(repos["spark"], frame).to_arrow(), job(repos["local"], asked()).to_arrow()

    assert_equal(got, expected)


@pytest.mark.parametrize("key_type", ["float64", "uint64"])
def test_keys_of_another_number_type_than_the_logs_are_found_in_every_task(repos, key_type):
    rows = asked().assign(shop_id=asked()["shop_id"].astype(key_type))

    local, distributed = (repos[name].get_historical_features(rows, ["by_both:cents_sum_5d"]).to_arrow() for name in repos)

    assert_equal(distributed, local)
    assert any(local["cents_sum_5d"].to_pylist())


@pytest.mark.parametrize("engine_name", ["local", "spark"])
def test_keys_that_do_not_compare_with_the_logs_are_refused_by_both_engines(repos, engine_name):
    rows = asked().assign(shop_id=asked()["shop_id"].astype(str))

    with pytest.raises(EntityKeyError, match=r"Join key 'shop_id' is .*string in the entity rows but int32 in the log"):
        repos[engine_name].get_historical_features(rows, ["by_both:cents_sum_5d"]).to_arrow()


def test_a_query_that_finds_no_rows_gives_none(repos, spark):
    frame = spark.createDataFrame(asked().head(5)).where("number < 0")

    got = repos["spark"].get_historical_features(frame, ["by_user:cents_count_3d"]).to_arrow()

    assert got.num_rows == 0
    assert "cents_count_3d" in got.column_names


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
