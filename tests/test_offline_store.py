"""History through Feast's public API: what get_historical_features answers, and what it refuses."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from feast import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    PushSource,
    RequestSource,
    ValueType,
)
from feast.errors import FeastEntityDFMissingColumnsError, SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64

from plumbline import aggregate, windowed_view
from plumbline.event_log import LogNotFoundError
from plumbline.log_times import LogSchemaError

US = pa.timestamp("us", tz="UTC")
NOON = datetime(2024, 3, 10, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
USER = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
SHOP = Entity(name="shop", join_keys=["shop_id"], value_type=ValueType.INT64)


def log(*events: tuple) -> pa.Table:
    """Payments (user, shop, time, cents[, created])."""
    users, shops, times, cents, created = zip(*[(*e, e[2])[:5] if len(e) == 4 else e for e in events], strict=True)
    return pa.table(
        {
            "user_id": pa.array(users, pa.string()),
            "shop_id": pa.array(shops, pa.int64()),
            "event_timestamp": pa.array(times, US),
            "created_timestamp": pa.array(created, US),
            "cents": pa.array(cents, pa.int64()),
        }
    )


def source(path: str = "payments") -> PushSource:
    batch = FileSource(path=path, timestamp_field="event_timestamp", created_timestamp_column="created_timestamp")
    return PushSource(name="payments", batch_source=batch)


RAW = [Field(name="cents", dtype=Int64)]


def spending(log_source: PushSource, **changes: object):
    options = {"name": "spending", "entities": [USER], "source": log_source, "schema": RAW} | changes
    return windowed_view(aggregations=aggregate("cents", ["count", "sum", "max"], over="1h"), **options)


def repo(path: Path, engine: str = "local") -> FeatureStore:
    path.mkdir(exist_ok=True)
    (path / "feature_store.yaml").write_text(
        "project: till\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        f"offline_store: {{type: plumbline.offline_store.WindowedOfflineStore, engine: {engine}}}\n"
        "online_store: {type: sqlite, path: online.db}\n"
    )
    return FeatureStore(repo_path=str(path))


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """A repo with one log: ann pays 10 at 11:00 and 30 at 11:59 (known at 12:30), bob 5 at 11:59."""
    events = log(
        ("ann", 1, NOON - HOUR, 10),
        ("ann", 2, NOON - MINUTE, 30, NOON + 30 * MINUTE),
        ("bob", 1, NOON - MINUTE, 5),
    )
    (tmp_path / "payments").mkdir()
    pq.write_table(events, tmp_path / "payments/history-0.parquet")
    opened, payments = repo(tmp_path), source()
    opened.apply([USER, SHOP, payments, spending(payments)])
    return opened


def ask(*rows: tuple, **more: list) -> pd.DataFrame:
    users, times = zip(*rows, strict=True)
    return pd.DataFrame({"user_id": users, "event_timestamp": pd.to_datetime(times, utc=True)} | more)


def append(opened: FeatureStore, rows: pa.Table) -> None:
    """Append rows to the log behind the view spending."""
    view = opened.get_stream_feature_view("spending")
    opened._get_provider().offline_store.offline_write_batch(opened.config, view, rows, None)


def test_windows_join_entity_rows_in_order_and_keep_their_columns(store):
    asked = ask(("bob", NOON), ("ann", NOON), ("eve", NOON), ("ann", NOON), label=[1, 0, 0, 1])

    got = store.get_historical_features(asked, ["spending:cents_sum_1h", "spending:cents_max_1h"]).to_df()

    assert list(got.columns) == ["user_id", "event_timestamp", "label", "cents_sum_1h", "cents_max_1h"]
    assert got["cents_sum_1h"].tolist() == [5, 40, 0, 40]
    assert got["label"].tolist() == [1, 0, 0, 1]


def test_only_what_was_known_counts_when_asked_as_known(store):
    asked = ask(("ann", NOON), ("ann", NOON + 31 * MINUTE))

    got = store.get_historical_features(asked, ["spending:cents_sum_1h"], filter_by_created_timestamp=True)

    assert got.to_arrow()["cents_sum_1h"].to_pylist() == [10, 30]


def test_full_feature_names_carry_the_view(store):
    got = store.get_historical_features(ask(("ann", NOON)), ["spending:cents_count_1h"], full_feature_names=True)

    assert got.to_arrow().column_names == ["user_id", "event_timestamp", "spending__cents_count_1h"]


def test_integers_with_nulls_stay_integers_in_arrow_and_are_exact_in_pandas(store):
    job = store.get_historical_features(ask(("ann", NOON), ("eve", NOON)), ["spending:cents_max_1h"])

    assert job.to_arrow()["cents_max_1h"].type == pa.int64()
    assert job.to_df()["cents_max_1h"].dtype == np.float64
    store.write_to_offline_store("spending", log(("ann", 1, NOON - MINUTE, 2**53 + 1)).to_pandas())
    assert job.to_df()["cents_max_1h"].tolist() == [2**53 + 1, pd.NA]


@pytest.mark.parametrize(
    "times",
    [
        ["2024-03-10T12:00:00", "2024-03-10T13:00:00+01:00"],
        [np.datetime64("2024-03-10T12:00:00", "s")] * 2,
        [datetime(2024, 3, 10, 12)] * 2,  # noqa: DTZ001 - a naive time is the case
        [NOON, NOON.astimezone()],
    ],
    ids=["text", "naive seconds", "naive", "zoned"],
)
def test_times_of_entity_rows_are_utc_unless_they_say_otherwise(store, times):
    asked = pd.DataFrame({"user_id": ["ann", "ann"], "event_timestamp": times})

    got = store.get_historical_features(asked, ["spending:cents_sum_1h"]).to_arrow()

    assert got["cents_sum_1h"].to_pylist() == [40, 40]
    assert got["event_timestamp"].cast(US).to_pylist() == [NOON, NOON]


def test_the_only_datetime_column_is_the_event_timestamp(store):
    asked = ask(("ann", NOON)).rename(columns={"event_timestamp": "seen_at"})

    assert store.get_historical_features(asked, ["spending:cents_sum_1h"]).to_df()["cents_sum_1h"].tolist() == [40]


def test_entity_rows_may_be_an_arrow_table_and_none_are_none(store):
    asked = pa.Table.from_pandas(ask(("ann", NOON)), preserve_index=False)

    assert store.get_historical_features(asked, ["spending:cents_sum_1h"]).to_arrow()["cents_sum_1h"].to_pylist() == [40]
    assert store.get_historical_features(asked[:0], ["spending:cents_sum_1h"]).to_arrow().num_rows == 0


def test_an_entity_may_stand_under_another_name(store):
    view = store.get_stream_feature_view("spending")
    service = FeatureService(
        name="pairs",
        features=[
            view.with_name("payer").with_join_key_map({"user_id": "payer_id"})[["cents_sum_1h"]],
            view.with_name("payee").with_join_key_map({"user_id": "payee_id"})[["cents_sum_1h"]],
        ],
    )
    store.apply([service])
    asked = pd.DataFrame({"payer_id": ["ann"], "payee_id": ["bob"], "event_timestamp": [NOON]})

    got = store.get_historical_features(asked, service, full_feature_names=True).to_df()

    assert got[["payer__cents_sum_1h", "payee__cents_sum_1h"]].to_numpy().tolist() == [[40, 5]]


def test_on_demand_views_are_computed_on_top(store):
    amount = RequestSource(name="request", schema=[Field(name="amount", dtype=Int64)])
    spent = store.get_stream_feature_view("spending")[["cents_sum_1h"]]

    @on_demand_feature_view(sources=[spent, amount], schema=[Field(name="share", dtype=Float64)])
    def share(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"share": inputs["amount"] / inputs["cents_sum_1h"]})

    store.apply([share])

    got = store.get_historical_features(ask(("ann", NOON), amount=[20]), ["share:share"]).to_df()

    assert got["share"].tolist() == [0.5]


def profile(path: Path, rows: list[tuple]) -> None:
    users, times, created, tiers = zip(*rows, strict=True)
    pq.write_table(
        pa.table(
            {
                "user_id": list(users),
                "event_timestamp": pa.array(times, US),
                "created_timestamp": pa.array(created, US),
                "tier": pa.array(tiers, pa.int64()),
            }
        ),
        path,
    )


def tiers(ttl: timedelta) -> FeatureView:
    batch = FileSource(path="profile.parquet", timestamp_field="event_timestamp", created_timestamp_column="created_timestamp")
    return FeatureView(name="tiers", entities=[USER], ttl=ttl, schema=[Field(name="tier", dtype=Int64)], source=batch)


def test_slowly_changing_views_join_beside_windows(store):
    rows = [("ann", NOON, NOON, 2), ("ann", NOON - HOUR, NOON - HOUR, 1), ("ann", NOON, NOON + HOUR, 3)]
    profile(Path(store.repo_path) / "profile.parquet", rows)
    store.apply([tiers(ttl=HOUR)])
    asked = ask(("ann", NOON - MINUTE), ("ann", NOON), ("ann", NOON + HOUR), ("ann", NOON + HOUR + MINUTE), ("eve", NOON))
    features = ["spending:cents_count_1h", "tiers:tier"]

    plain = store.get_historical_features(asked, features).to_arrow()
    known = store.get_historical_features(asked, features, filter_by_created_timestamp=True).to_arrow()

    assert plain["tier"].to_pylist() == [1, 3, 3, None, None]
    assert known["tier"].to_pylist() == [1, 2, 3, None, None]
    assert plain["tier"].type == pa.int64()
    assert plain["cents_count_1h"].to_pylist() == [1, 2, 0, 0, 0]


def test_a_view_without_entities_has_one_newest_row_for_all(store):
    path = Path(store.repo_path) / "rates.parquet"
    pq.write_table(pa.table({"event_timestamp": pa.array([NOON - DAY, NOON], US), "rate": [1.0, 2.0]}), path)
    batch = FileSource(path="rates.parquet", timestamp_field="event_timestamp")
    store.apply([FeatureView(name="rates", entities=[], schema=[Field(name="rate", dtype=Float64)], source=batch)])

    got = store.get_historical_features(ask(("ann", NOON), ("eve", NOON - MINUTE)), ["rates:rate"]).to_df()

    assert got["rate"].tolist() == [2.0, 1.0]


def test_columns_may_be_renamed_by_field_mapping(tmp_path):
    opened = repo(tmp_path)
    pq.write_table(log(("ann", 1, NOON - MINUTE, 7)).rename_columns({"cents": "betrag"}), tmp_path / "payments.parquet")
    batch = FileSource(path="payments.parquet", timestamp_field="event_timestamp", field_mapping={"betrag": "cents"})
    payments = PushSource(name="payments", batch_source=batch)
    opened.apply([USER, payments, spending(payments)])

    got = opened.get_historical_features(ask(("ann", NOON)), ["spending:cents_sum_1h"]).to_df()

    assert got["cents_sum_1h"].tolist() == [7]


def test_views_over_logs_of_their_own_and_composite_keys_answer_in_one_call(store):
    pairs = spending(source(), name="pairs", entities=[USER, SHOP])
    other = PushSource(name="other", batch_source=FileSource(path="other.parquet", timestamp_field="event_timestamp"))
    pq.write_table(log(("ann", 1, NOON - MINUTE, 100)), Path(store.repo_path) / "other.parquet")
    store.apply([pairs, other, spending(other, name="others")])
    features = ["pairs:cents_sum_1h", "others:cents_sum_1h", "spending:cents_sum_1h"]

    got = store.get_historical_features(ask(("ann", NOON), shop_id=[2]), features, full_feature_names=True).to_df()

    assert got.filter(like="__").iloc[0].to_dict() == {
        "pairs__cents_sum_1h": 30,
        "others__cents_sum_1h": 100,
        "spending__cents_sum_1h": 40,
    }


def test_no_entity_rows_give_no_rows_whatever_type_pandas_gives_an_empty_column(store):
    nobody = pd.DataFrame({"user_id": [], "event_timestamp": []})

    got = store.get_historical_features(nobody, ["spending:cents_sum_1h"]).to_df()

    assert got["cents_sum_1h"].tolist() == []


def test_appended_events_are_read_at_once_and_missing_columns_are_null(store):
    rows = log(("bob", 1, NOON - 2 * MINUTE, 50)).drop(["shop_id"])

    append(store, rows)

    got = store.get_historical_features(ask(("bob", NOON)), ["spending:cents_sum_1h"]).to_df()
    files = sorted(path.name for path in (Path(store.repo_path) / "payments").glob("*.parquet"))
    assert got["cents_sum_1h"].tolist() == [55]
    assert [name.split("-")[0] for name in files] == ["history", "pushed"]


def test_appending_keeps_the_days_of_a_log_in_their_folders(tmp_path):
    opened, payments = repo(tmp_path), source()
    opened.apply([USER, payments, spending(payments)])
    folder = tmp_path / "payments/event_date=2024-03-10"
    folder.mkdir(parents=True)
    pq.write_table(log(("ann", 1, NOON, 1)), folder / "history-0.parquet")

    append(opened, log(("ann", 1, NOON, 2), ("ann", 1, NOON + DAY, 3)))

    files = (tmp_path / "payments").rglob("*.parquet")
    found = sorted((file.parent.name, pq.read_table(file, partitioning=None)["cents"].to_pylist()) for file in files)
    assert found == [("event_date=2024-03-10", [1]), ("event_date=2024-03-10", [2]), ("event_date=2024-03-11", [3])]


def test_a_log_that_is_one_file_is_rewritten_and_one_that_is_missing_is_created(tmp_path):
    opened, payments = repo(tmp_path), source("payments.parquet")
    opened.apply([USER, payments, spending(payments)])

    append(opened, log(("ann", 1, NOON - MINUTE, 1)))
    append(opened, log(("ann", 1, NOON - MINUTE, 2)))

    assert pq.read_table(tmp_path / "payments.parquet")["cents"].to_pylist() == [1, 2]
    assert sorted(path.name for path in tmp_path.glob("*.parquet")) == ["payments.parquet"]


@pytest.mark.parametrize("path", ["payments", "payments.parquet"])
@pytest.mark.parametrize("first", [[None, None], [1.0, None]], ids=["nulls", "whole floats beside a null"])
def test_a_log_that_a_push_creates_has_the_declared_types_whatever_pandas_made_of_the_first_rows(tmp_path, path, first):
    opened, payments = repo(tmp_path), source(path)
    opened.apply([USER, payments, spending(payments)])
    pushed = log(("ann", 1, NOON - MINUTE, 0), ("ann", 1, NOON - MINUTE, 0))
    as_pandas_has_it = pa.chunked_array([pa.array(first, pa.null() if first == [None, None] else pa.float64())])
    place = pushed.schema.get_field_index("cents")

    append(opened, pushed.set_column(place, "cents", as_pandas_has_it))
    append(opened, log(("ann", 1, NOON - MINUTE, 2**53 + 1)))

    got = opened.get_historical_features(ask(("ann", NOON)), ["spending:cents_sum_1h"]).to_df()
    assert got["cents_sum_1h"].tolist() == [2**53 + 1 + int(first[0] or 0)]
    assert pads.dataset(tmp_path / path).schema.field("cents").type == pa.int64()


def test_a_value_takes_its_place_in_a_log_that_knows_a_column_by_nulls_alone(tmp_path):
    opened, payments = repo(tmp_path), source()
    opened.apply([USER, payments, spending(payments)])
    (tmp_path / "payments").mkdir()
    events = log(("ann", 1, NOON - MINUTE, 0))
    nulls = events.set_column(events.schema.get_field_index("cents"), "cents", pa.chunked_array([pa.nulls(1)]))
    pq.write_table(nulls, tmp_path / "payments/history-0.parquet")

    append(opened, log(("ann", 1, NOON - MINUTE, 7)))

    got = opened.get_historical_features(ask(("ann", NOON)), ["spending:cents_sum_1h"]).to_df()
    assert got["cents_sum_1h"].tolist() == [7]


def test_appending_a_column_that_the_log_does_not_have_is_refused(store):
    rows = log(("bob", 1, NOON, 50)).append_column("mood", pa.array(["good"]))

    with pytest.raises(LogSchemaError, match="no column mood; it has user_id, shop_id"):
        append(store, rows)


def test_a_training_set_without_rows_is_saved_and_read_back(store):
    job = store.get_historical_features(ask(("ann", NOON)).head(0), ["spending:cents_sum_1h"])

    store.create_saved_dataset(job, name="none", storage=SavedDatasetFileStorage(path="none.parquet"))

    got = store.get_saved_dataset("none").to_df()
    assert got.empty
    assert "cents_sum_1h" in got


def test_a_training_set_is_saved_and_read_back(store):
    job = store.get_historical_features(ask(("ann", NOON), ("bob", NOON)), ["spending:cents_sum_1h"])

    store.create_saved_dataset(job, name="march", storage=SavedDatasetFileStorage(path="march.parquet"))

    got = store.get_saved_dataset("march").to_df()
    assert dict(zip(got["user_id"], got["cents_sum_1h"], strict=True)) == {"ann": 40, "bob": 5}
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        store.create_saved_dataset(job, name="march", storage=SavedDatasetFileStorage(path="march.parquet"))


def test_the_latest_rows_of_a_table_are_pulled_for_materialization(store):
    rows = [
        ("ann", NOON, NOON, 2),
        ("ann", NOON, NOON + HOUR, 3),
        ("bob", NOON - DAY, NOON, 1),
        ("bob", NOON + DAY, NOON, 9),
    ]
    profile(Path(store.repo_path) / "profile.parquet", rows)
    batch = FileSource(path="profile.parquet", timestamp_field="event_timestamp")
    pull = store._get_provider().offline_store.pull_latest_from_table_or_query
    arguments = (store.config, batch, ["user_id"], ["tier"], "event_timestamp", "created_timestamp")

    got = pull(*arguments, NOON - DAY, NOON).to_arrow()

    assert got.select(["user_id", "tier"]).to_pylist() == [{"user_id": "ann", "tier": 3}, {"user_id": "bob", "tier": 1}]


def test_a_missing_log_is_an_error_that_names_view_and_path(tmp_path):
    opened, payments = repo(tmp_path), source("nowhere")
    opened.apply([USER, payments, spending(payments)])

    with pytest.raises(LogNotFoundError, match=r"View 'spending': The log of source 'payments'.*nowhere"):
        opened.get_historical_features(ask(("ann", NOON)), ["spending:cents_sum_1h"]).to_df()


def test_what_cannot_be_answered_is_refused_in_one_sentence(store):
    features = ["spending:cents_sum_1h"]

    with pytest.raises(ValueError, match="pass entity_df with join keys and event_timestamp instead of start_date"):
        store.get_historical_features(features=features, start_date=NOON, end_date=NOON)
    with pytest.raises(ValueError, match=r"SQL needs `offline_store: \{engine: spark\}`"):
        store.get_historical_features("SELECT 1", features)
    with pytest.raises(NotImplementedError, match="without SQL"):
        store.get_historical_features(ask(("ann", NOON)), features).to_sql()
    with pytest.raises(FeastEntityDFMissingColumnsError, match="user_id"):
        store.get_historical_features(ask(("ann", NOON)).drop(columns="user_id"), features)
    with pytest.raises(ValueError, match="already has a column cents_sum_1h"):
        store.get_historical_features(ask(("ann", NOON), cents_sum_1h=[1]), features)


def test_features_of_views_without_a_log_yet_are_of_nothing(tmp_path):
    (tmp_path / "payments").mkdir()
    opened, payments = repo(tmp_path), source()
    opened.apply([USER, payments, spending(payments)])

    got = opened.get_historical_features(ask(("ann", NOON)), ["spending:cents_sum_1h", "spending:cents_max_1h"])

    assert got.to_arrow().select(["cents_sum_1h", "cents_max_1h"]).to_pylist() == [{"cents_sum_1h": 0, "cents_max_1h": None}]
