"""What the feature definitions promise: found by Feast, enough of them, none that sees what production cannot."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from applied_repo import apply_definitions
from feast import FeatureView, OnDemandFeatureView, StreamFeatureView
from feast.repo_operations import get_repo_files

from feature_repo import REPO_PATH, definitions, features, open_store
from feature_repo.features.user_profile import loaded_fields
from feature_repo.settings import Settings
from plumbline.spec import view_spec

RATIOS = (
    "amount_to_mean_30d",
    "amount_to_max_30d",
    "amount_deviations_30d",
    "amount_to_merchant_mean_30d",
    "spent_1d_to_daily_mean_30d",
    "events_1h_to_hourly_mean_7d",
)
NOON_US = 1_767_614_400_000_000  # 2026-01-05T12:00Z, a Monday


def declared(kind: type) -> list:
    return [value for value in definitions.feast_objects().values() if isinstance(value, kind)]


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory, own_store: str):
    """The store after Feast's own command line applied the repo to a new registry."""
    data_dir = tmp_path_factory.mktemp("applied")
    settings = Settings.from_env({"DATA_DIR": str(data_dir), "REDIS_CONNECTION_STRING": own_store})
    return apply_definitions(settings)


def test_feast_loads_definitions_and_nothing_else():
    found = get_repo_files(REPO_PATH)

    assert [path.name for path in found] == ["definitions.py"]


def test_every_declared_view_and_service_is_in_the_registry_after_apply(applied):
    windowed = {view.name for view in declared(StreamFeatureView)}

    assert {view.name for view in applied.list_stream_feature_views()} == windowed
    assert {view.name for view in applied.list_on_demand_feature_views()} == {"transaction_context"}
    assert "user_profile" in {view.name for view in applied.list_feature_views()}
    assert {s.name for s in applied.list_feature_services()} == {"transaction_fraud_v1", "account_risk_v1"}


def test_every_windowed_view_compiles_as_it_stands_in_the_registry(applied):
    specs = [view_spec(view, applied.repo_path) for view in applied.list_stream_feature_views()]

    user_windows = [window for spec in specs if spec.join_keys == ("user_id",) for window in spec.windows]
    assert len(user_windows) >= 25
    assert {spec.join_keys for spec in specs} >= {
        ("user_id",), ("merchant_id",), ("device_id",), ("user_id", "merchant_id"),
    }  # fmt: skip


def test_no_feature_reads_the_simulators_scenario():
    columns = {a.column for view in declared(StreamFeatureView) for a in view.aggregations}
    fields = {field.name for view in [*declared(FeatureView), *declared(OnDemandFeatureView)] for field in view.features}

    assert not any("scenario" in name for name in columns | fields)
    assert not any("scenario" in path.read_text(encoding="utf-8") for path in (REPO_PATH / "features").glob("*.py"))


@pytest.mark.parametrize(
    ("view", "local_names"),
    [
        ("user_payments", ("payment_id_count", "payment_cents_mean")),
        ("merchant_activity", ("payment_id_count", "payment_cents_mean")),
        ("user_chargebacks", ("fraud_id_count", "is_fraud_mean")),
        ("merchant_chargebacks", ("fraud_id_count", "is_fraud_mean")),
        ("device_chargebacks", ("fraud_id_count", "is_fraud_mean")),
    ],
)
def test_count_mean_and_reported_risk_of_a_day_a_week_and_a_month_need_no_more_than_a_user_and_a_merchant(view, local_names):
    windowed = {declared_view.name: declared_view for declared_view in declared(StreamFeatureView)}

    names = {field.name for field in windowed[view].features}

    assert {f"{name}_{over}" for name in local_names for over in ("1d", "7d", "30d")} <= names


def test_labels_count_from_the_instant_they_were_reported():
    views = [view for view in declared(StreamFeatureView) if view.stream_source.name == "labels"]

    specs = [view_spec(view, REPO_PATH) for view in views]

    assert {spec.name for spec in specs} == {"merchant_chargebacks", "user_chargebacks", "device_chargebacks"}
    assert {spec.source.timestamp_field for spec in specs} == {"created_timestamp"}
    assert {spec.source.created_timestamp_column for spec in specs} == {None}
    assert {spec.source.allowed_lateness_us for spec in specs} == {180 * 86_400_000_000}


def test_account_risk_needs_a_user_and_no_transaction(applied):
    service = applied.get_feature_service("account_risk_v1")

    windowed = {view.name: view for view in applied.list_stream_feature_views()}
    used = [windowed[p.name] for p in service.feature_view_projections if p.name in windowed]
    assert used
    assert {tuple(field.name for field in view.entity_columns) for view in used} == {("user_id",)}
    assert "transaction_context" not in {p.name for p in service.feature_view_projections}


def transaction(**changed) -> dict[str, list]:
    """One request with the history it is compared to, as Feast hands it to an on-demand view."""
    row = {
        "transaction_amount_cents": 4_000,
        "transaction_event_type": "payment",
        "transaction_category": "food",
        "transaction_channel": "online",
        "transaction_country": "FR",
        "transaction_time_us": NOON_US,
        "user_activity__event_id_count_1h": 3,
        "user_activity__event_id_count_7d": 168,
        "user_payments__payment_cents_sum_1d": 2_000,
        "user_payments__payment_cents_sum_30d": 30_000,
        "user_payments__payment_cents_mean_30d": 1_000.0,
        "user_payments__payment_cents_max_30d": 8_000,
        "user_payments__payment_cents_std_30d": 500.0,
        "user_novelty__country_last_6h": "FR",
        "user_novelty__country_last_30d": "DE",
        "user_novelty__channel_last_30d": "online",
        "merchant_activity__payment_cents_mean_30d": 2_000.0,
    }
    return {name: [value] for name, value in {**row, **changed}.items()}


def test_the_on_demand_view_computes_the_same_after_its_trip_through_the_registry(applied):
    view = applied.get_on_demand_feature_view("transaction_context")

    out = view.transform_dict(transaction())

    assert {field.name: out[field.name][0] for field in view.features} == {
        "amount_cents": 4_000,
        "event_type": "payment",
        "category": "food",
        "channel": "online",
        "country": "FR",
        "hour_utc": 12,
        "weekday": 0,
        "amount_to_mean_30d": 4.0,
        "amount_to_max_30d": 0.5,
        "amount_deviations_30d": 6.0,  # (4000 - 1000) / 500
        "amount_to_merchant_mean_30d": 2.0,
        "spent_1d_to_daily_mean_30d": 6.0,  # (4000 + 2000) / (30000 / 30)
        "events_1h_to_hourly_mean_7d": 3.0,  # 3 / (168 / 168)
        "country_changed": 1,
        "country_changed_6h": 0,
        "channel_changed": 0,
    }


def test_a_ratio_to_nothing_is_null_and_never_zero_or_infinite(applied):
    view = applied.get_on_demand_feature_view("transaction_context")
    nothing = {name: [None] for name in transaction() if "__" in name}
    zeros = {name: [0] for name in transaction() if "__" in name and "last" not in name}

    for history in (nothing, {**nothing, **zeros}):
        out = view.transform_dict({**transaction(), **history})

        assert {name: out[name] for name in RATIOS} == {name: [None] for name in RATIOS}
        assert out["country_changed"] == [None]


def test_a_transaction_without_an_amount_has_no_ratios_but_a_time(applied):
    view = applied.get_on_demand_feature_view("transaction_context")

    out = view.transform_dict(transaction(transaction_amount_cents=None, transaction_country=None))

    assert out["amount_cents"] == [None]
    assert out["amount_to_mean_30d"] == [None]
    assert out["country_changed"] == [None]
    assert out["hour_utc"] == [12]


def test_the_columns_of_a_slowly_changing_view_are_read_from_what_was_loaded(tmp_path):
    rows = pa.table({"user_id": ["ann"], "event_timestamp": [NOON_US], "created_timestamp": [NOON_US], "income_cents": [5]})
    pq.write_table(rows.append_column("card", pa.array(["gold"])), tmp_path / "history-0.parquet")

    fields = loaded_fields(tmp_path)

    assert {field.name: str(field.dtype) for field in fields} == {"income_cents": "Int64", "card": "String"}
    assert loaded_fields(tmp_path / "absent") == []


def test_a_profile_that_was_never_loaded_is_declared_but_neither_materialized_nor_served(applied):
    view = applied.get_feature_view("user_profile")
    used = {p.name for service in applied.list_feature_services() for p in service.feature_view_projections}

    assert not view.online
    assert "user_profile" not in used


def test_a_new_module_of_features_is_found_by_itself(tmp_path, monkeypatch):
    (tmp_path / "shops.py").write_text(
        "from feast import Entity, ValueType\nshop = Entity(name='shop', value_type=ValueType.STRING)\n"
    )
    monkeypatch.setattr(features, "__path__", [*features.__path__, str(tmp_path)])

    assert definitions.feast_objects()["shops__shop"].name == "shop"


def test_opening_the_store_leaves_the_environment_as_it_was(applied, tmp_path):
    before = dict(os.environ)

    store = open_store(Settings.from_env({"DATA_DIR": str(tmp_path), "REDIS_PORT": "7777"}))

    assert dict(os.environ) == before
    assert store.config.registry.path == f"{tmp_path}/registry.db"
    assert store.config.online_store.connection_string == "127.0.0.1:7777"
