"""Columns of any type that Feast can serve have every function that makes sense; the others are refused in one sentence."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FileSource, PushSource, ValueType

from plumbline import DeclarationError, FeatureStore, aggregate, as_of, windowed_view

NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
OLD, NEW = NOON - timedelta(minutes=9), NOON - timedelta(minutes=5)
VALUES = {
    "small": (pa.int8(), [3, -4]),
    "unsigned": (pa.uint64(), [77, 4]),
    "short_float": (pa.float32(), [1.5, 0.25]),
    "flag": (pa.bool_(), [True, False]),
    "text": (pa.large_string(), ["Ø", ""]),
    "coded": (pa.dictionary(pa.int8(), pa.string()), ["a", "b"]),
    "blob": (pa.binary(), [b"\x00\xff", b""]),
    "naive_time": (pa.timestamp("ms"), [OLD.replace(tzinfo=None), NEW.replace(tzinfo=None)]),
    "zoned_time": (pa.timestamp("us", "UTC"), [OLD, NEW]),
    "day": (pa.date32(), [OLD.date(), (NEW + timedelta(days=1)).date()]),
    "price": (pa.decimal128(10, 2), [Decimal("1.25"), Decimal("-9.00")]),
}
REFUSED = {"several": (pa.list_(pa.int64()), [[1], [2]]), "nothing": (pa.null(), [None, None])}
USER = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)


@pytest.fixture
def source(tmp_path, monkeypatch):
    columns = {name: pa.array(values, data_type) for name, (data_type, values) in (VALUES | REFUSED).items()}
    times = pa.array([OLD, NEW], pa.timestamp("ns", "UTC"))
    pq.write_table(pa.table({"user_id": pa.array([7, 7], pa.int32()), "at": times, **columns}), tmp_path / "log.parquet")
    monkeypatch.chdir(tmp_path)
    return PushSource(name="log", batch_source=FileSource(path="log.parquet", timestamp_field="at"))


@pytest.fixture
def store(tmp_path, empty_redis):
    (tmp_path / "feature_store.yaml").write_text(
        "project: types\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        "offline_store: {type: plumbline.offline_store.WindowedOfflineStore}\n"
        f"online_store: {{type: plumbline.online_store.WindowedOnlineStore, connection_string: '{empty_redis}'}}\n"
        "batch_engine: {type: plumbline.compute_engine.WindowedComputeEngine}\n"
    )
    return FeatureStore(repo_path=str(tmp_path))


SERVED = [name for name in VALUES if name not in ("day", "price")]


@pytest.mark.parametrize("column", VALUES)
def test_count_and_count_distinct_of_any_column_are_the_same_in_history_and_online(column, source, store):
    view = windowed_view(
        name="v", entities=[USER], source=source, aggregations=aggregate(column, ["count", "count_distinct"], "1h")
    )

    answers = everywhere(store, source, view)

    assert answers == [[2, 2], [2, 2]]


@pytest.mark.parametrize("column", SERVED)
def test_first_and_last_of_any_type_that_feast_serves_are_the_same_in_history_and_online(column, source, store):
    view = windowed_view(name="v", entities=[USER], source=source, aggregations=aggregate(column, ["first", "last"], "1h"))

    history, online = everywhere(store, source, view)

    expected = [value.replace(tzinfo=UTC) if isinstance(value, datetime) else value for value in VALUES[column][1]]
    assert [value.replace(tzinfo=UTC) if isinstance(value, datetime) else value for value in history] == expected
    assert online == expected


@pytest.mark.parametrize("column", ["day", "price"])
def test_a_result_that_feast_has_no_type_for_is_refused_with_what_is_allowed(column, source):
    with pytest.raises(
        DeclarationError, match=f"last of '{column}' would be a .*, which Feast has no type for; make the column"
    ):
        windowed_view(name="v", entities=[USER], source=source, aggregations=aggregate(column, "last", "1h"))


@pytest.mark.parametrize(
    ("column", "allowed"), [("several", r"such a column has count\."), ("nothing", r"windowed_view\(schema=.*\)\.")]
)
def test_a_column_whose_values_cannot_be_told_apart_or_have_no_type_is_refused_with_what_is_allowed(column, allowed, source):
    with pytest.raises(DeclarationError, match=f"first of '{column}' .*{allowed}$"):
        windowed_view(name="v", entities=[USER], source=source, aggregations=aggregate(column, "first", "1h"))


def everywhere(store, source, view):
    """The view's values of user 7 at noon: from the log, and from the online store."""
    store.apply([USER, source, view])
    store.materialize(datetime(2020, 1, 1, tzinfo=UTC), NOON)
    names = [feature.name for feature in view.features]
    references = [f"v:{name}" for name in names]
    asked = pd.DataFrame({"user_id": [7], "event_timestamp": [NOON]})
    history = store.get_historical_features(asked, references).to_arrow().to_pylist()[0]
    with as_of(NOON):
        online = store.get_online_features(references, [{"user_id": 7}]).to_dict()
    return [[history[name] for name in names], [online[name][0] for name in names]]
