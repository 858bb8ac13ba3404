"""What Feast offers around a view works with windows: names, services, on-demand views, Feast's own classes."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from engine_lab import (
    BY_USER,
    ENTITIES,
    KEYS,
    NOON,
    VIEWS,
    Declared,
    Lab,
    View,
    differences,
    emptied,
    event,
    frame,
    instant,
    materialize,
    references,
    row,
    to_frame,
)
from feast import FeatureService, FeatureView, Field, RequestSource, StreamFeatureView
from feast.aggregation import Aggregation
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float32, Float64, Int32, Int64, String
from histories import examples, histories
from hypothesis import given
from naive import SECOND

from plumbline import as_of


@pytest.fixture(scope="module")
def lab(tmp_path_factory, redis_server):
    return Lab(tmp_path_factory.mktemp("history"), redis_server)


@pytest.fixture(scope="module")
def store(lab):
    return lab.applied()


def test_names_are_full_or_local(lab, store):
    lab.write([event(NOON - SECOND)])
    features = ["by_user:amount_cents_sum_10m", "by_device:amount_cents_max_3d"]

    local = store.get_historical_features(to_frame([row(NOON)]), features).to_df()
    full = store.get_historical_features(to_frame([row(NOON)]), features, full_feature_names=True).to_df()

    assert list(local["amount_cents_sum_10m"]) == list(full["by_user__amount_cents_sum_10m"]) == [100]
    assert list(local["amount_cents_max_3d"]) == list(full["by_device__amount_cents_max_3d"]) == [100]
    assert set(local.columns) == {*KEYS, "event_timestamp", "amount_cents_sum_10m", "amount_cents_max_3d"}


def test_a_feature_service_and_an_on_demand_view_read_windows(tmp_path, redis_server):
    lab = Lab(tmp_path, redis_server)
    lab.write([event(NOON - SECOND, 1, amount_cents=40), event(NOON - SECOND, 2, amount_cents=60)])
    source = lab.source()
    view = BY_USER.declared(source)
    request = RequestSource(name="request", schema=[Field(name="transaction_cents", dtype=Int64)])

    @on_demand_feature_view(sources=[view[["amount_cents_mean_10m"]], request], schema=[Field(name="ratio", dtype=Float64)])
    def against_mean(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"ratio": inputs["transaction_cents"] / inputs["amount_cents_mean_10m"]})

    service = FeatureService(name="svc", features=[view[["amount_cents_count_10m"]], against_mean])
    store = lab.open()
    store.apply([ENTITIES["user_id"], source, view, against_mean, service])
    frame = to_frame([row(NOON), row(NOON, user_id="nobody")]).assign(transaction_cents=[25, 25])

    answer = store.get_historical_features(frame, store.get_feature_service("svc"), full_feature_names=True).to_df()

    assert list(answer["by_user__amount_cents_count_10m"]) == [2, 0]
    assert answer["against_mean__ratio"][0] == 0.5
    assert np.isnan(answer["against_mean__ratio"][1])


def test_a_view_written_with_feasts_own_classes_equals_windowed_view(tmp_path, redis_server):
    lab = Lab(tmp_path, redis_server)
    source = lab.source()
    ours = View(
        "ours",
        ("user_id",),
        (Declared("amount_cents", ("sum", "max", "count"), "1h"), Declared("price", ("mean",), "1d")),
    )
    hand_written = StreamFeatureView(
        name="by_hand",
        entities=[ENTITIES["user_id"]],
        source=source,
        ttl=timedelta(hours=2),
        timestamp_field="event_timestamp",
        schema=[
            Field(name="user_id", dtype=String),
            Field(name="sum_amount_cents_3600s", dtype=Int64),
            Field(name="max_amount_cents_3600s", dtype=Int64),
            Field(name="events", dtype=Int64),
            Field(name="mean_price_86400s", dtype=Float64),
        ],
        aggregations=[
            Aggregation(column="amount_cents", function="sum", time_window=timedelta(hours=1)),
            Aggregation(
                column="amount_cents", function="max", time_window=timedelta(hours=1), slide_interval=timedelta(hours=1)
            ),
            Aggregation(column="amount_cents", function="count", time_window=timedelta(hours=1), name="events"),
            Aggregation(column="price", function="mean", time_window=timedelta(days=1)),
        ],
    )
    store = lab.open()
    store.apply([ENTITIES["user_id"], source, ours.declared(source), hand_written])
    pairs = {
        "amount_cents_sum_1h": "sum_amount_cents_3600s",
        "amount_cents_max_1h": "max_amount_cents_3600s",
        "amount_cents_count_1h": "events",
        "price_mean_1d": "mean_price_86400s",
    }
    features = [f"{view}:{name}" for mine, theirs in pairs.items() for view, name in (("ours", mine), ("by_hand", theirs))]

    @examples(4)
    @given(recorded=histories())
    def holds(recorded):
        lab.write(recorded.events)

        answer = store.get_historical_features(to_frame(recorded.rows), features, full_feature_names=True).to_arrow()

        for mine, theirs in pairs.items():
            assert answer.column(f"ours__{mine}").to_pylist() == answer.column(f"by_hand__{theirs}").to_pylist()
        assert not differences(answer.to_pylist(), recorded.events, recorded.rows, [ours])

    holds()


def test_a_result_declared_in_another_type_of_number_is_the_same_online_and_null_where_it_does_not_fit(tmp_path, redis_server):
    lab = Lab(tmp_path, redis_server)
    declared = {"sum": Int32, "max": Float64, "min": Float32}
    view = StreamFeatureView(
        name="by_hand",
        entities=[ENTITIES["user_id"]],
        source=lab.source(),
        timestamp_field="event_timestamp",
        schema=[Field(name="user_id", dtype=String), *(Field(name=name, dtype=dtype) for name, dtype in declared.items())],
        aggregations=[
            Aggregation(column="amount_cents", function=name, time_window=timedelta(hours=1), name=name) for name in declared
        ],
    )
    fits, largest = 2**31 - 1, 2**53 + 1
    lab.write([event(NOON - SECOND, amount_cents=fits), event(NOON - SECOND, user_id="rich", amount_cents=largest)])
    store = lab.open()
    store.apply([ENTITIES["user_id"], view.source, view])
    materialize(store)
    features = [f"by_hand:{name}" for name in declared]

    history = store.get_historical_features(to_frame([row(NOON)]), features, full_feature_names=True).to_arrow().to_pylist()
    found, overflowed = store.read_online(features, [{"user_id": row(NOON)["user_id"]}, {"user_id": "rich"}], instant(NOON))

    assert found.features == {name: history[0][name] for name in found.features}
    assert found.features == {"by_hand__sum": fits, "by_hand__max": float(fits), "by_hand__min": 2.0**31}
    assert {type(value) for value in found.features.values()} == {int, float}
    assert not found.overflows
    assert overflowed.features == {"by_hand__sum": None, "by_hand__max": float(largest), "by_hand__min": 2.0**53}
    assert overflowed.overflows == ("'sum' of view 'by_hand' leaves int32",)


def pairs(store) -> FeatureService:
    """Senders and receivers: one view under two names, each with a join key of its own."""
    view = store.get_stream_feature_view("by_user")
    aliases = [view.with_name(n).with_join_key_map({"user_id": f"{n}_id"}) for n in ("sender", "receiver")]
    service = FeatureService(name="pairs", features=[alias[["amount_cents_count_10m"]] for alias in aliases])
    store.apply([service])
    return store.get_feature_service("pairs")


def test_a_view_may_be_asked_about_under_other_join_keys(lab, store):
    lab.write([event(NOON - SECOND, 1), event(NOON - SECOND, 2, user_id="bob"), event(NOON - SECOND, 3, user_id="bob")])
    asked = to_frame([row(NOON)] * 2, []).assign(receiver_id=["ann", "bob"], sender_id=["bob", "nobody"])

    answer = store.get_historical_features(asked, pairs(store), full_feature_names=True).to_df()

    assert list(answer["receiver__amount_cents_count_10m"]) == [1, 2]
    assert list(answer["sender__amount_cents_count_10m"]) == [2, 0]


def test_a_view_may_be_read_online_under_other_join_keys(lab, store):
    emptied(lab, store)
    store.push("events", frame([event(NOON, 1), event(NOON, 2, user_id="bob"), event(NOON, 3, user_id="bob")]))
    rows = [{"receiver_id": "ann", "sender_id": "bob"}, {"receiver_id": "bob", "sender_id": None}]

    with as_of(instant(NOON + 1)):
        answer = store.get_online_features(pairs(store), rows, full_feature_names=True).to_dict()

    assert answer["receiver__amount_cents_count_10m"] == [1, 2]
    assert answer["sender__amount_cents_count_10m"] == [2, 0]


def test_a_saved_set_is_read_back_with_all_columns_of_its_entity_rows(tmp_path, redis_server):
    lab = Lab(tmp_path, redis_server)
    lab.write([event(NOON - SECOND, category="shoes")])
    source = lab.source()
    tastes = FeatureView(
        name="tastes", entities=[ENTITIES["user_id"]], schema=[Field(name="category", dtype=String)], source=source.batch_source
    )
    store = lab.open()
    store.apply([*ENTITIES.values(), source, tastes, *(view.declared(source) for view in VIEWS)])
    asked = to_frame([row(NOON)]).assign(is_fraud=[True])
    job = store.get_historical_features(asked, ["tastes:category", "by_device:amount_cents_max_3d"])

    store.create_saved_dataset(job, "march", SavedDatasetFileStorage(str(tmp_path / "march.parquet")))

    pd.testing.assert_frame_equal(store.get_saved_dataset("march").to_df(), job.to_df(), check_like=True, check_dtype=False)


def test_a_saved_set_that_replaces_another_is_read_back_whole(lab, store, tmp_path):
    lab.write([event(NOON - SECOND)])
    storage = SavedDatasetFileStorage(str(tmp_path / "set.parquet"))

    for at in (NOON, NOON + 60 * SECOND):
        job = store.get_historical_features(to_frame([row(at)]), ["by_user:amount_cents_sum_10m"])
        saved = store.create_saved_dataset(job, "set", storage, allow_overwrite=True)

        assert list(saved.to_df()["amount_cents_sum_10m"]) == [100]
        assert list(store.get_saved_dataset("set").to_df()["amount_cents_sum_10m"]) == [100]


def test_read_online_answers_what_feasts_own_path_answers(lab, store):
    lab.write([event(NOON - SECOND, 1), event(NOON - SECOND, 2, amount_cents=None)])
    emptied(lab, store)
    store.materialize(instant(0), instant(NOON))
    rows = [{key: row(NOON, **who)[key] for key in KEYS} for who in ({}, {"user_id": "nobody"}, {"merchant_id": None})]

    with as_of(instant(NOON)):
        answers = store.read_online(references(VIEWS), rows)
        stock = store.get_online_features(references(VIEWS), rows, full_feature_names=True).to_dict()

    assert [answer.features for answer in answers] == [
        {name: values[i] for name, values in stock.items() if name not in KEYS} for i in range(len(rows))
    ]


def test_read_online_refuses_a_row_without_its_join_key_as_feast_does(store):
    with pytest.raises(KeyError):
        store.get_online_features(["by_user:amount_cents_sum_10m"], [{"device_id": "phone"}])

    with pytest.raises(KeyError):
        store.read_online(["by_user:amount_cents_sum_10m"], [{"device_id": "phone"}])


def test_all_features_that_a_registered_view_lists_are_read_though_feast_lists_its_join_keys_too(lab, store):
    lab.write([event(NOON - SECOND)])
    listed = [f"by_user:{feature.name}" for feature in store.get_stream_feature_view("by_user").features]

    answer = store.get_online_features(listed, [{"user_id": "nobody"}]).to_dict()

    assert set(answer) == {reference.split(":")[1] for reference in [*listed, "by_user:user_id"]}


def test_a_store_at_work_sees_that_a_views_log_was_declared_anew(tmp_path, redis_server):
    lab = Lab(tmp_path, redis_server)
    store = lab.open()

    for column in ("event_timestamp", "created_timestamp"):
        source = lab.source(timestamp_field=column, created_timestamp_column="")
        store.apply([ENTITIES["user_id"], source, BY_USER.declared(source)])

        assert store.layout("by_user").spec.source.timestamp_field == column
