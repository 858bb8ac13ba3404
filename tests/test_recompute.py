"""A logged answer is recomputed from the log at its own instant and positions, and a difference is named."""

import copy
import json
from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from applied_repo import apply_definitions
from train_world import write_log

from feature_repo.event_schema import LABELS, TRANSACTIONS
from feature_repo.row_level import add_columns
from feature_repo.settings import Settings
from pipelines.recompute import NotYetInLogError, UnverifiableError, compare, recompute

COUNT = "user_activity__event_id_count_1h"
ROW = {
    "user_id": "ada",
    "merchant_id": "the-bakery",
    "device_id": "her-phone",
    "transaction_amount_cents": 450,
    "transaction_event_type": "payment",
    "transaction_category": "food",
    "transaction_channel": "pos",
    "transaction_country": None,
    "transaction_time_us": int(datetime.now(UTC).timestamp() * 1e6),
}


def payment(name: str, at: datetime, cents: int, offset: int | None) -> dict:
    """One payment of ada's; with an offset it came through partition 0 of the topic."""
    slot = {"source_partition": None if offset is None else 0, "source_offset": offset}
    keys = {"user_id": "ada", "merchant_id": "the-bakery", "device_id": "her-phone"}
    kind = {"event_type": "payment", "category": "food", "channel": "pos", "country": "NO", "session_id": None}
    times = {"event_timestamp": at, "created_timestamp": at}
    return {"event_id": name, "amount_cents": cents, "too_late": False, **slot, **keys, **kind, **times}


@pytest.fixture(scope="module")
def world(tmp_path_factory, own_store):
    """A store over a log of three old payments and two streamed ones, all of them materialized."""
    now = datetime.now(UTC)

    def ago(minutes: int) -> datetime:
        return now - timedelta(minutes=minutes)

    settings = Settings.from_env({"DATA_DIR": str(tmp_path_factory.mktemp("world")), "REDIS_CONNECTION_STRING": own_store})
    old = [payment("h-1", ago(60 * 24), 300, None), payment("h-2", ago(50), 420, None), payment("h-3", ago(40), 999, None)]
    streamed = [payment("s-1", ago(20), 510, 0), payment("s-2", ago(10), 333, 1)]
    rows = pa.Table.from_pylist([*old, *streamed], pa.schema([f for f in TRANSACTIONS if f.name in old[0]]))
    write_log(settings.transactions_path, TRANSACTIONS, add_columns(rows))
    write_log(settings.labels_path, LABELS, pa.table({"event_id": pa.array([], pa.string())}))
    commits = settings.transactions_path / "_commits"
    commits.mkdir(exist_ok=True)
    (commits / "history.json").write_text(json.dumps({"generation": 1, "shift_us": 0, "rows": 3}))
    (commits / "batch-000000000000.json").write_text(json.dumps({"end_offsets": {"0": 1}}))
    profile = {"user_id": "ada", "event_timestamp": now - timedelta(days=3), "created_timestamp": now, "credit_score": 700}
    settings.profiles_path.mkdir()
    pq.write_table(pa.table({name: [value] for name, value in profile.items()}), settings.profiles_path / "one.parquet")
    rates = {"event_timestamp": now - timedelta(days=1), "created_timestamp": now - timedelta(days=1), "policy_rate": 2.5}
    rates |= {"is_promotion": 1}
    (settings.events_dir / "market").mkdir()
    pq.write_table(pa.table({name: [value] for name, value in rates.items()}), settings.events_dir / "market" / "one.parquet")
    store = apply_definitions(settings)
    store.materialize_incremental(datetime.now(UTC))
    return settings, store


@pytest.fixture
def answer(world):
    """What the topic `decisions` holds about a score of ada's next payment."""
    read = world[1].read_online("transaction_fraud_v1", [ROW])[0]
    positions = json.loads(json.dumps(read.positions))
    return {"entity_row": ROW, "as_of": read.as_of.isoformat(), "positions": positions, "features": read.features}


def test_every_feature_of_an_answer_is_recomputed_equal(world, answer):
    compared = compare(world[1], answer)

    assert len(compared) == len(answer["features"]) > 90
    assert [each for each in compared if not each.equal] == []
    assert answer["features"][COUNT] == 4
    assert answer["features"]["user_profile__credit_score"] == 700
    assert recompute(world[1], answer)["transaction_context__amount_cents"] == 450


def test_of_the_market_models_take_what_recurs_and_names_no_date(world, answer):
    services = {service.name: service.feature_view_projections for service in world[1].list_feature_services()}
    of_market = {
        name: [field.name for view in views for field in view.features if view.name == "market"]
        for name, views in services.items()
    }

    assert of_market == {"transaction_fraud_v1": ["is_promotion"], "account_risk_v1": [], "credit_default_v1": []}
    assert answer["features"]["market__is_promotion"] == 1


def test_the_rates_of_a_day_join_training_rows_from_the_instant_they_were_published_and_are_read_online(world):
    settings, store = world
    (published,) = pq.read_table(settings.events_dir / "market")["event_timestamp"].to_pylist()
    rows = pd.DataFrame({"user_id": "ada", "event_timestamp": [published - timedelta(seconds=1), published, datetime.now(UTC)]})

    found = store.get_historical_features(rows, ["market:policy_rate"], full_feature_names=True).to_arrow()
    (online,) = store.read_online(["market:policy_rate"], [{"user_id": "ada"}])

    assert found["market__policy_rate"].to_pylist() == [None, 2.5, 2.5]
    assert online.features == {"market__policy_rate": 2.5}


def test_events_after_the_positions_of_an_answer_are_not_counted(world, answer):
    answer["positions"]["user_activity"]["0"] = 0

    assert recompute(world[1], answer)[COUNT] == 3


def test_a_wrong_value_is_named(world, answer):
    tampered = copy.deepcopy(answer)
    tampered["features"][COUNT] += 1

    [different] = [each for each in compare(world[1], tampered) if not each.equal]

    assert (different.feature, different.online, different.offline) == (COUNT, 5, 4)


def test_an_answer_ahead_of_the_log_waits_for_the_archive(world, answer):
    answer["positions"]["user_payments"]["0"] = 7

    with pytest.raises(NotYetInLogError, match=r"transactions\[0\] up to offset 7; the log holds it up to 1"):
        compare(world[1], answer)


def test_an_answer_of_a_replaced_history_cannot_be_verified(world, answer):
    answer["positions"]["user_activity"]["history"] = 0

    with pytest.raises(UnverifiableError, match="rests on history 0; the log now holds 1"):
        compare(world[1], answer)


def test_an_answer_about_no_device_rests_on_the_empty_history(world):
    read = world[1].read_online("transaction_fraud_v1", [{**ROW, "device_id": None}])[0]
    positions = json.loads(json.dumps(read.positions))
    answer = {"entity_row": {**ROW, "device_id": None}, "as_of": read.as_of.isoformat(), "positions": positions}

    compared = compare(world[1], {**answer, "features": read.features})

    assert [each for each in compared if not each.equal] == []
    assert {each.offline for each in compared if each.feature.startswith("device_activity__event_id_count")} == {0}
