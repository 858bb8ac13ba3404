"""What an online store of windows promises, rule by rule: positions, statuses, keys, decay, replays, pushes, as_of."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow.parquet as pq
import pytest
from engine_lab import (
    BY_USER,
    BY_USER_AND_MERCHANT,
    ENTITIES,
    NOON,
    VIEWS,
    Declared,
    Lab,
    View,
    client,
    column,
    differences,
    emptied,
    entities,
    event,
    flipped,
    frame,
    history,
    instant,
    materialize,
    online,
    references,
    row,
    streamed,
    to_table,
)
from feast import FeatureService, FeatureView, Field, FileSource, RequestSource
from feast.data_source import PushMode
from feast.errors import PushSourceNotFoundException
from feast.on_demand_feature_view import on_demand_feature_view
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.types import Float64, Int64, String
from naive import DAY, HOUR, MINUTE, SECOND

from plumbline import AsOfTooOld, as_of

COUNT = "by_user__amount_cents_count_1d"
SUM = "by_user__amount_cents_sum_1d"


@pytest.fixture(scope="module")
def lab(tmp_path_factory, redis_server):
    return Lab(tmp_path_factory.mktemp("rules"), redis_server)


@pytest.fixture(scope="module")
def applied(lab):
    return lab.applied()


@pytest.fixture
def store(lab, applied):
    return emptied(lab, applied)


def value(store, name: str, at: int, **keys):
    """One feature of one entity as of an instant."""
    return online(store, [row(at, **keys)], at)[0][name]


def statuses(response, name: str) -> list[str]:
    place = list(response.proto.metadata.feature_names.val).index(name)
    return [FieldStatus.Name(status) for status in response.proto.results[place].statuses]


def now() -> int:
    return time.time_ns() // 1000


def test_a_windows_value_decays_while_its_entity_is_idle(store):
    store.push("events", frame([streamed(NOON, 0)]))

    counts = [value(store, "by_user__amount_cents_count_10m", NOON + after) for after in (0, 1, 10 * MINUTE, 10 * MINUTE + 1)]

    assert counts == [0, 1, 1, 0]


def test_a_read_without_as_of_is_as_of_now(store):
    store.push("events", frame([event(now() - 10 * SECOND, 1), event(now() - 2 * HOUR, 2)]))

    (answer,) = online(store, [row(0)])

    assert (answer["by_user__amount_cents_count_10m"], answer[COUNT]) == (1, 2)


def test_created_timestamp_defaults_to_the_time_of_the_push(store):
    pushed = frame([event(now() - SECOND, 1), event(now() - 25 * HOUR, 2)]).drop(columns="created_timestamp")

    store.push("events", pushed)

    assert online(store, [row(0)])[0]["by_user__amount_cents_count_7d"] == 1  # the second came a day and an hour late


def test_an_unknown_entity_has_the_empty_history(store):
    store.push("events", frame([streamed(NOON, 0)]))

    (answer,) = online(store, [row(0, user_id="nobody")], NOON, [BY_USER])

    assert (answer[COUNT], answer[SUM], answer["by_user__price_sum_1h"]) == (0, 0, 0)
    assert answer["by_user__amount_cents_mean_1d"] is None
    assert answer["by_user__category_last_1h"] is None


def test_a_null_key_has_the_empty_history(store):
    store.push("events", frame([streamed(NOON, 0, 1, user_id=None), streamed(NOON, 1, 2)]))
    rows = [row(0, user_id=None), row(0), row(0, merchant_id=None)]

    answers = online(store, rows, NOON + 1)

    assert [answer[COUNT] for answer in answers] == [0, 1, 1]
    assert [answer["by_user_and_merchant__amount_cents_count_1h"] for answer in answers] == [0, 1, 0]
    assert [answer["by_merchant__amount_cents_count_1d"] for answer in answers] == [2, 2, 0]


def test_statuses_tell_a_stranger_from_a_window_that_emptied(store):
    store.push("events", frame([streamed(NOON, 0)]))
    rows = [{"user_id": "ann"}, {"user_id": "nobody"}, {"user_id": None}]

    with as_of(instant(NOON + 30 * DAY)):
        response = store.get_online_features(["by_user:amount_cents_count_1d"], rows)

    assert response.to_dict()["amount_cents_count_1d"] == [0, 0, 0]
    assert statuses(response, "amount_cents_count_1d") == ["PRESENT", "NOT_FOUND", "NOT_FOUND"]


def test_composite_keys_never_collide(store):
    store.push("events", frame([
        streamed(NOON, 0, 1, user_id="1", merchant_id="23"), streamed(NOON, 1, 2, user_id="12", merchant_id="3")
    ]))  # fmt: skip
    rows = [row(0, user_id=u, merchant_id=m) for u, m in (("1", "23"), ("12", "3"), ("1", "3"), ("123", ""), ("", "123"))]

    answers = online(store, rows, NOON + 1, [BY_USER_AND_MERCHANT])

    assert [a["by_user_and_merchant__amount_cents_count_1h"] for a in answers] == [1, 1, 0, 0, 0]


def test_rows_of_a_read_come_in_order_with_duplicates(store):
    store.push(
        "events",
        frame([streamed(NOON, 0, 1), streamed(NOON, 1, 2, user_id="bob"), streamed(NOON, 2, 3, user_id="bob")]),
    )
    users = ["bob", "nobody", "ann", "bob", None, "ann"]

    answers = online(store, [row(0, user_id=user) for user in users], NOON + 1)

    assert [answer["user_id"] for answer in answers] == users
    assert [answer[COUNT] for answer in answers] == [2, 0, 1, 2, 0, 1]


def test_positions_say_the_last_offset_applied_of_each_partition(store):
    assert store.positions("by_user") == {}

    store.push("events", frame([streamed(NOON, 0, 1), streamed(NOON, 4, 2), streamed(NOON, 0, 3, partition=1)]))

    assert store.positions("by_user") == {0: 4, 1: 0}
    assert store.positions("by_device") == {0: 4, 1: 0}


def test_positions_pass_over_records_that_count_for_nothing(store):
    late = streamed(NOON, 1, 2, created_timestamp=NOON + 2 * DAY)
    from_the_future = streamed(NOON, 2, 3, created_timestamp=NOON - HOUR)
    again = streamed(NOON, 3, 1)
    store.push("events", frame([streamed(NOON, 0, 1), late, from_the_future, again]))

    assert store.positions("by_user") == {0: 3}
    assert value(store, COUNT, NOON + 2 * DAY) == 0
    assert value(store, "by_user__amount_cents_count_7d", NOON + 2 * DAY) == 1


def test_materialize_sets_positions_to_the_end_of_the_log(lab, store):
    lab.write([streamed(NOON, 7, 1), streamed(NOON, 2, 2, partition=1), event(NOON, 3)])

    materialize(store)

    assert store.positions("by_user") == {0: 7, 1: 2}


def test_materialize_reads_no_row_beyond_the_logs_manifest(lab, store):
    lab.write([*[streamed(NOON, n, n) for n in range(4)], event(NOON, 9)])
    (lab.log / "_commits").mkdir()
    (lab.log / "_commits" / "batch-000000000000.json").write_text('{"end_offsets": {"0": 1}}')

    materialize(store)

    assert value(store, COUNT, NOON + 1) == 3
    assert store.positions("by_user") == {0: 1}
    store.push("events", frame([streamed(NOON, 2, 2), streamed(NOON, 3, 3)]))
    assert value(store, COUNT, NOON + 1) == 5


def test_the_range_of_materialize_bounds_nothing(lab, store):
    lab.write([event(NOON, 1), event(NOON + DAY, 2)])

    store.materialize(datetime(2001, 1, 1, tzinfo=UTC), datetime(2001, 1, 2, tzinfo=UTC))

    assert value(store, "by_user__amount_cents_count_7d", NOON + DAY + 1) == 2


def test_a_replayed_batch_changes_nothing(store):
    batch = [streamed(NOON + n, n, n) for n in range(5)]
    store.push("events", frame(batch))

    store.push("events", frame(batch))
    store.push("events", frame(batch[2:]))
    store.push("events", frame([*batch[3:], streamed(NOON + 5, 5, 5)]))

    assert value(store, COUNT, NOON + SECOND) == 6
    assert store.positions("by_user") == {0: 5}


def test_rows_with_and_without_offsets_may_be_pushed_together(store):
    store.push("events", frame([streamed(NOON, 0, 1), event(NOON, 2), streamed(NOON, 1, 3), event(NOON, 2)]))

    assert value(store, COUNT, NOON + 1) == 3
    assert store.positions("by_user") == {0: 1}


def test_a_delivery_in_a_later_push_is_still_a_duplicate(store):
    store.push("events", frame([streamed(NOON, 0, 1)]))

    store.push("events", frame([streamed(NOON, 1, 1, created_timestamp=NOON + HOUR)]))

    assert value(store, COUNT, NOON + HOUR) == 1


def test_a_delivery_is_a_duplicate_of_one_that_was_materialized(lab, store):
    lab.write([streamed(NOON, 0, 1)])
    materialize(store)

    store.push("events", frame([streamed(NOON, 1, 1, created_timestamp=NOON + HOUR)]))

    assert value(store, COUNT, NOON + HOUR) == 1


def test_an_event_pushed_twice_without_an_offset_counts_once(store):
    for _ in range(2):
        store.push("events", frame([event(NOON, 1), event(NOON, 1), event(NOON + 1, 2)]))

    assert value(store, COUNT, NOON + SECOND) == 2


def test_pushes_at_the_same_time_all_count(store):
    def push(number: int) -> None:
        store.push("events", frame([event(NOON + number, number)]))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(push, range(16)))

    assert value(store, COUNT, NOON + SECOND) == 16


def test_rows_of_a_partition_are_pushed_in_order(store):
    with pytest.raises(ValueError, match="order"):
        store.push("events", frame([streamed(NOON, 1, 1), streamed(NOON, 0, 2)]))


def test_a_negative_offset_is_refused(store):
    with pytest.raises(ValueError, match="offsets begin at 0"):
        store.push("events", frame([streamed(NOON, -1)]))


def test_a_pushed_key_of_another_kind_than_declared_is_refused_because_nobody_would_find_it(store):
    numbered = frame([streamed(NOON, 0)]).assign(user_id=[7])

    with pytest.raises(ValueError, match=r"'user_id' of view '.*' is string, but the pushed column is int64; push string\.$"):
        store.push("events", numbered)


def test_values_of_a_windowed_view_are_not_written_but_computed(store):
    with pytest.raises(ValueError, match="push its raw events"):
        store.write_to_online_store("by_user", frame([event(NOON)]))


def test_no_entity_rows_have_no_answers(store):
    assert store.read_online(references([BY_USER]), []) == []
    with pytest.raises(ValueError, match="give at least one"):
        store.get_online_features(references([BY_USER]), [])


def test_a_push_that_lacks_a_column_says_which(store):
    with pytest.raises(ValueError, match="amount_cents"):
        store.push("events", frame([event(NOON)]).drop(columns="amount_cents"))
    with pytest.raises(ValueError, match="event_timestamp"):
        store.push("events", frame([event(NOON)]).drop(columns="event_timestamp"))


def test_a_push_to_an_unknown_source_is_refused(store):
    with pytest.raises(PushSourceNotFoundException):
        store.push("nowhere", frame([event(NOON)]))


def test_late_events_land_in_their_own_tiles(store):
    store.push("events", frame([streamed(NOON, 0, 1)]))
    late = [streamed(NOON - n * HOUR, n, n + 1, created_timestamp=NOON, amount_cents=10**n) for n in range(1, 15)]

    for each in late:
        store.push("events", frame([each]))

    seen = [streamed(NOON, 0, 1), *late]
    for at in (NOON, NOON + 5 * HOUR, NOON + 13 * HOUR + 4 * MINUTE, NOON + 3 * DAY):
        assert not differences(online(store, [row(at)], at), seen, [row(at)], at=at)


def test_a_float_sum_built_up_event_by_event_does_not_drift(store):
    prices = [1e15, *[0.06] * 50, -1e15]
    events = [streamed(NOON + n * SECOND, n, n, price=price) for n, price in enumerate(prices)]

    for each in events:
        store.push("events", frame([each]))

    for at in (NOON + MINUTE, NOON + DAY, NOON + 3 * DAY):
        assert not differences(online(store, [row(at)], at), events, [row(at)], at=at)


def test_a_long_history_answers_as_short_ones_do(lab, store):
    events = [
        streamed(NOON - n * 37 * MINUTE, 400 - n, n, amount_cents=n * n, price=n / 7, category=f"c{n % 9}") for n in range(400)
    ]
    events.sort(key=lambda e: e["source_offset"])
    lab.write(events[:300])
    materialize(store)

    store.push("events", frame(events[300:]))

    for at in (NOON + SECOND, NOON + 50 * MINUTE, NOON + 7 * DAY):
        assert not differences(online(store, [row(at)], at), events, [row(at)], at=at)


def test_an_integer_sum_that_leaves_int64_is_null(store):
    store.push("events", frame([streamed(NOON, n, n, amount_cents=2**62) for n in range(2)]))

    (answer,) = online(store, [row(0)], NOON + 1, [BY_USER])

    assert answer["by_user__amount_cents_sum_10m"] is None
    assert answer["by_user__amount_cents_mean_10m"] == 2.0**62
    assert answer["by_user__amount_cents_count_10m"] == 2


def test_as_of_reaches_five_minutes_back(store):
    newest = now()
    events = [streamed(newest - n * MINUTE, 60 - n, n) for n in range(60, -1, -1)]
    store.push("events", frame(events))

    for back in (0, MINUTE, 5 * MINUTE):
        at = newest - back
        assert not differences(online(store, [row(at)], at), events, [row(at)], at=at)


def test_as_of_further_back_than_the_state_is_refused(store):
    store.push("events", frame([streamed(NOON + n * DAY, n, n) for n in range(60)]))

    with pytest.raises(AsOfTooOld):
        value(store, COUNT, NOON + 20 * DAY)


@pytest.mark.parametrize("at", [datetime(2024, 6, 1), "2024-06-01T00:00:00Z", None])  # noqa: DTZ001
def test_as_of_needs_a_datetime_with_a_utc_offset(at):
    with pytest.raises(ValueError, match="datetime with"), as_of(at):
        pass


def test_as_of_takes_any_offset(store):
    store.push("events", frame([streamed(NOON, 0)]))

    with as_of(datetime.fromisoformat("2024-06-01T21:00:00.000001+09:00")):
        response = store.get_online_features(["by_user:amount_cents_count_1d"], [{"user_id": "ann"}])

    assert response.to_dict()["amount_cents_count_1d"] == [1]


def test_an_answer_says_what_it_rests_on(lab, store):
    lab.write([event(NOON, 1), streamed(NOON, 4, 2)])
    materialize(store)
    store.push("events", frame([streamed(NOON, 9, 3)]))

    (answer,) = store.read_online(["by_user:amount_cents_count_1d"], [{"user_id": "ann"}], instant(NOON + 1))

    assert answer.known
    assert answer.features == {COUNT: 3}
    assert answer.positions == {"by_user": {"0": 9, "history": 0}}
    assert answer.as_of == instant(NOON + 1)


def test_the_coroutine_reads_the_same(store):
    store.push("events", frame([streamed(NOON, 0), streamed(NOON + 1, 1, 1, user_id="bob")]))
    rows = [{"user_id": "bob"}, {"user_id": None}, {"user_id": "ann"}]

    with as_of(instant(NOON + 1)):
        response = asyncio.run(store.get_online_features_async(references([BY_USER]), rows, full_feature_names=True))
        same = store.get_online_features(references([BY_USER]), rows, full_feature_names=True)

    assert response.to_dict() == same.to_dict()
    assert response.to_dict()[COUNT] == [0, 0, 1]


def test_names_are_full_or_local(store):
    store.push("events", frame([streamed(NOON, 0)]))

    with as_of(instant(NOON + 1)):
        response = store.get_online_features(["by_user:amount_cents_sum_10m"], [{"user_id": "ann"}])

    assert response.to_dict() == {"user_id": ["ann"], "amount_cents_sum_10m": [100]}


def test_pushed_to_both_sides_an_event_counts_once_on_each(lab, store):
    lab.write([event(NOON - HOUR, 1)])
    materialize(store)
    rows = [row(NOON + 1)]

    for _ in range(2):
        store.push("events", frame([event(NOON, 2)]), to=PushMode.ONLINE_AND_OFFLINE)
        assert value(store, COUNT, NOON + 1) == 2
        assert column(history(store, rows), COUNT) == [2]
    materialize(store)
    assert value(store, COUNT, NOON + 1) == 2
    store.push("events", frame([event(NOON, 2)]))

    assert value(store, COUNT, NOON + 1) == 2
    assert column(history(store, rows), COUNT) == [2]


def test_pushed_to_both_sides_a_late_or_future_event_counts_on_neither(lab, store):
    late = event(NOON, 1, created_timestamp=NOON + 2 * DAY)
    from_the_future = event(NOON, 2, created_timestamp=NOON - HOUR)
    rows = [row(NOON + 1)]

    store.push("events", frame([late, from_the_future, event(NOON, 3)]), to=PushMode.ONLINE_AND_OFFLINE)

    assert column(history(store, rows), COUNT) == [1]
    assert value(store, "by_user__amount_cents_count_7d", NOON + 2 * DAY) == 1
    materialize(store)
    assert value(store, "by_user__amount_cents_count_7d", NOON + 2 * DAY) == 1


def test_pushing_no_rows_changes_nothing_whatever_type_pandas_gives_an_empty_column(store):
    store.push("events", frame([event(NOON, 1)]))

    store.push("events", pd.DataFrame({name: [] for name in frame([event(NOON, 2)]).columns}), to=PushMode.ONLINE_AND_OFFLINE)

    assert value(store, COUNT, NOON + 1) == 1


@pytest.mark.parametrize("to", [PushMode.ONLINE, PushMode.OFFLINE])
@pytest.mark.parametrize(
    "values", [[1, "x"], [2**70, 1], [1j, 2j], ["\ud800", "x"], [[1], [2]], [{"a": 1}, {"b": 2}]], ids=repr
)
@pytest.mark.parametrize(
    "name", ["user_id", "event_timestamp", "created_timestamp", "amount_cents", "price", "category", "event_id"]
)
def test_a_pushed_column_that_is_none_of_the_views_types_is_refused_by_name_and_nothing_is_pushed(store, name, values, to):
    pushed = frame([event(NOON, 1), event(NOON, 2)]).assign(**{name: pd.Series(values)})

    with pytest.raises(ValueError, match=f"'?{name}'?"):
        store.push("events", pushed, to=to)

    assert value(store, COUNT, NOON + 1) == 0
    assert column(history(store, [row(NOON + 1)]), COUNT) == [0]


def test_a_pushed_column_that_is_there_twice_is_refused(store):
    twice = frame([event(NOON, 1)])

    with pytest.raises(ValueError, match="Column 'price' is there twice"):
        store.push("events", pd.concat([twice, twice[["price"]]], axis=1))


def test_a_pushed_row_from_the_future_prunes_nothing_where_no_column_says_when_it_was_created(tmp_path, redis_server, caplog):
    lab = Lab(tmp_path, redis_server)
    store, source = lab.open(), lab.source(created_timestamp_column=None)
    store.apply([*entities(VIEWS), source, *(view.declared(source) for view in VIEWS)])
    now = time.time_ns() // 1000

    store.push("events", frame([event(now - MINUTE, 1)]))
    store.push("events", frame([event(now + 400 * DAY, 2)]), to=PushMode.ONLINE_AND_OFFLINE)

    assert "1 are dated more than 5 minutes ahead" in caplog.text

    assert value(store, COUNT, now) == 1
    assert column(history(store, [row(now + 400 * DAY + 1)]), COUNT) == [0]


def test_a_partition_pushed_to_both_sides_counts_once_on_each(lab, store):
    store.push("events", frame([streamed(NOON, 0, 1)]), to=PushMode.ONLINE_AND_OFFLINE)
    store.push("events", frame([streamed(NOON, 1, 1), streamed(NOON, 2, 2)]), to=PushMode.ONLINE_AND_OFFLINE)

    assert value(store, COUNT, NOON + 1) == 2
    materialize(store)
    assert value(store, COUNT, NOON + 1) == 2
    assert column(history(store, [row(NOON + 1)]), COUNT) == [2]


def test_pushed_offline_an_event_is_online_after_materialize(lab, store):
    store.push("events", frame([event(NOON, 1)]), to=PushMode.OFFLINE)
    assert value(store, COUNT, NOON + 1) == 0

    materialize(store)

    assert value(store, COUNT, NOON + 1) == 1


def test_materialize_twice_changes_nothing(lab, store):
    events = [event(NOON - n * HOUR, n) for n in range(9)] + [streamed(NOON - n * HOUR, n, 50 + n) for n in range(9)]
    lab.write(events)
    materialize(store)
    before = online(store, [row(0)], NOON + 1), store.positions("by_user")

    materialize(store)

    assert (online(store, [row(0)], NOON + 1), store.positions("by_user")) == before


def test_materialize_never_takes_back_what_the_stream_has_applied(lab, store):
    events = [streamed(NOON + n, n, n) for n in range(6)]
    lab.write(events[:2])
    store.push("events", frame(events))

    materialize(store)

    assert value(store, COUNT, NOON + SECOND) == 6
    assert store.positions("by_user") == {0: 5}


def test_a_replaced_history_leaves_nothing_of_the_old_one(lab, store):
    (lab.log / "_commits").mkdir(exist_ok=True)
    manifest = lab.log / "_commits" / "history.json"
    manifest.write_text('{"generation": 1, "shift_us": 0, "rows": 2, "replaced_at": "2024-06-01T12:00:00Z"}')
    lab.write([event(NOON, 1), event(NOON, 2, user_id="bob"), streamed(NOON, 0, 3)])
    materialize(store)
    manifest.write_text('{"generation": 2, "shift_us": 0, "rows": 1, "replaced_at": "2024-06-02T12:00:00Z"}')
    lab.write([event(NOON, 4), event(NOON, 5), streamed(NOON, 0, 3)])

    materialize(store)
    manifest.unlink()

    assert value(store, COUNT, NOON + 1) == 3
    assert value(store, COUNT, NOON + 1, user_id="bob") == 0


def test_materialize_incremental_reads_the_whole_log_too(lab, store):
    lab.write([event(NOON - 20 * DAY, 1), event(NOON, 2)])

    store.materialize_incremental(datetime.now(UTC))

    assert value(store, "by_user__amount_cents_count_7d", NOON + 1) == 1
    assert value(store, "by_user__category_count_1h", NOON + 1) == 1


def test_entity_rows_may_come_as_columns(store):
    store.push("events", frame([streamed(NOON, 0)]))

    with as_of(instant(NOON + 1)):
        response = store.get_online_features(["by_user:amount_cents_count_1d"], {"user_id": ["bob", None, "ann"]})

    assert response.to_dict()["amount_cents_count_1d"] == [0, 0, 1]


def test_pushed_times_without_a_zone_are_utc(store):
    pushed = frame([event(NOON, 1)])
    for name in ("event_timestamp", "created_timestamp"):
        pushed[name] = pushed[name].dt.tz_localize(None)

    store.push("events", pushed)

    assert value(store, COUNT, NOON) == 0
    assert value(store, COUNT, NOON + 1) == 1


def test_further_columns_of_a_push_are_ignored(store):
    store.push("events", frame([event(NOON, 1)]).assign(comment="?", is_night=[True]))

    assert value(store, COUNT, NOON + 1) == 1


def test_labels_count_online_from_the_instant_they_were_reported(tmp_path, redis_server):
    lab = Lab(tmp_path, redis_server)
    reported = View("reported", ("merchant_id",), (Declared("amount_cents", ("count", "sum"), "30d"),))
    tags = {"allowed_lateness": "180d"}
    source = lab.source("labels", timestamp_field="created_timestamp", created_timestamp_column="", tags=tags)
    store = lab.open()
    store.apply([ENTITIES["merchant_id"], source, reported.declared(source)])
    emptied(lab, store)
    lab.write([event(NOON - 40 * DAY, 1, created_timestamp=NOON, amount_cents=1)])
    materialize(store)

    store.push("labels", frame([
        streamed(NOON - 3 * DAY, 0, 2, created_timestamp=NOON + HOUR, amount_cents=20),
        streamed(NOON - 3 * DAY, 1, 2, created_timestamp=NOON + 2 * HOUR, amount_cents=300),  # delivered again
    ]))  # fmt: skip

    at = NOON + 3 * HOUR
    assert online(store, [row(0)], at, [reported])[0]["reported__amount_cents_sum_30d"] == 21
    assert column(history(store, [row(at)], [reported]), "reported__amount_cents_sum_30d") == [1]


def test_thousands_of_entities_in_one_batch_are_folded_as_one_is(store):
    """Shards hold more states than a script reads numbers at a time, some with rows that leave the head for the tiles."""
    users = range(3_000)
    batches = [
        [streamed(NOON - (n % 20) * HOUR, first + n, first + n, user_id=f"user-{n}", amount_cents=n) for n in users]
        for first in (0, len(users))
    ]

    for batch in batches:
        store.push("events", frame(batch))

    answers = online(store, [row(NOON, user_id=f"user-{n}") for n in users], NOON + MINUTE, [BY_USER])
    assert [(answer[COUNT], answer[SUM]) for answer in answers] == [(2, 2 * n) for n in users]


def test_teardown_leaves_nothing(tmp_path, redis_server):
    lab = Lab(tmp_path, redis_server)
    store = emptied(lab, lab.applied([BY_USER]))
    lab.write([streamed(NOON, 0)])
    materialize(store)

    store.teardown()

    with client(lab) as everything:
        assert everything.dbsize() == 0


def test_a_deleted_view_leaves_no_state_behind(tmp_path, redis_server):
    lab = Lab(tmp_path, redis_server)
    source, user = lab.source(), ENTITIES["user_id"]
    store = lab.open()
    emptied(lab, store)
    view = BY_USER.declared(source)
    store.apply([user, source, view])
    store.push("events", frame([streamed(NOON, 0)]))

    store.apply([user, source], objects_to_delete=[view], partial=False)
    store.apply([user, source, BY_USER.declared(source)])

    assert store.positions("by_user") == {}
    assert online(store, [row(0)], NOON + 1, [BY_USER])[0][COUNT] == 0


@pytest.mark.parametrize("bit", [8, 10, 13, 40, 70])
def test_a_flipped_bit_of_a_fence_is_repaired(bit, lab, store):
    """Bytes 1 to 8 of a state say which offset it has seen; one that claims too much would skip the events to come."""
    lab.write([streamed(NOON, 3, 1)])
    materialize(store)
    with client(lab) as damaged:
        for key in damaged.scan_iter():
            for slot, state in damaged.hgetall(key).items():
                if len(state) > 20:
                    damaged.hset(key, slot, flipped(state, bit))

    materialize(store)
    store.push("events", frame([streamed(NOON + 1, 4, 2)]))

    assert value(store, COUNT, NOON + SECOND) == 2


PROFILE_COLUMNS = ["user_id", "event_timestamp", "created_timestamp", "balance", "category"]


@pytest.fixture
def profiles(tmp_path, redis_server):
    """A slowly changing view with a ttl of two days beside a windowed one, and a service with a ratio of the two."""
    lab = Lab(tmp_path, redis_server)
    pq.write_table(to_table([]).select(PROFILE_COLUMNS), lab.path / "profile.parquet")
    rows = FileSource(
        name="profile",
        path=str(lab.path / "profile.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )
    fields = [Field(name="balance", dtype=Int64), Field(name="category", dtype=String)]
    user, source = ENTITIES["user_id"], lab.source()
    profile = FeatureView(name="profile", entities=[user], ttl=timedelta(days=2), schema=fields, source=rows)
    for_ever = FeatureView(name="for_ever", entities=[user], ttl=timedelta(0), schema=fields, source=rows)
    windows = BY_USER.declared(source)
    request = RequestSource(name="request", schema=[Field(name="transaction_cents", dtype=Int64)])

    @on_demand_feature_view(sources=[windows[["amount_cents_mean_1d"]], request], schema=[Field(name="ratio", dtype=Float64)])
    def against_mean(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"ratio": inputs["transaction_cents"] / inputs["amount_cents_mean_1d"]})

    service = FeatureService(name="svc", features=[windows[["amount_cents_count_1d"]], profile, against_mean])
    store = lab.open()
    store.apply([user, source, windows, profile, for_ever, against_mean, service])
    return lab, emptied(lab, store)


def profile_rows(lab: Lab, *rows: dict) -> None:
    pq.write_table(to_table(rows).select(PROFILE_COLUMNS), lab.path / "profile.parquet")


def test_a_slowly_changing_view_keeps_its_ttl_online(profiles):
    lab, store = profiles
    at = now() - DAY
    profile_rows(lab, event(at - 9 * DAY, balance=1), event(at, balance=2, category="Oslo"))
    store.materialize(datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC))

    def read(when: int, user: str = "ann"):
        with as_of(instant(when)):
            response = store.get_online_features(
                ["profile:balance", "for_ever:category"], [{"user_id": user}], full_feature_names=True
            )
        answer = response.to_dict()
        return answer["profile__balance"][0], statuses(response, "profile__balance")[0], answer["for_ever__category"][0]

    assert read(now()) == (2, "PRESENT", "Oslo")
    assert read(at + 2 * DAY) == (2, "PRESENT", "Oslo")
    assert read(at + 2 * DAY + 1)[1:] == ("OUTSIDE_MAX_AGE", "Oslo")
    assert read(now(), "nobody") == (None, "NOT_FOUND", None)
    with pytest.raises(AsOfTooOld):
        read(at - DAY)


def test_a_row_dated_ahead_waits_for_its_time(profiles):
    lab, store = profiles
    profile_rows(lab, event(now() - HOUR, balance=1), event(now() + HOUR, balance=2, created_timestamp=now()))
    store.materialize(datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=1))

    def balance(when: int):
        with as_of(instant(when)):
            return store.get_online_features(["profile:balance"], [{"user_id": "ann"}]).to_dict()["balance"]

    assert balance(now()) == [1]
    assert balance(now() + 2 * HOUR) == [2]


def test_of_rows_of_one_instant_the_one_created_last_holds(profiles):
    lab, store = profiles
    at = now() - HOUR
    profile_rows(
        lab,
        event(at, balance=1, created_timestamp=at + 1),
        event(at, balance=3, created_timestamp=at + 3),
        event(at, balance=2, created_timestamp=at + 2),
    )
    store.materialize(datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC))

    assert store.get_online_features(["profile:balance"], [{"user_id": "ann"}]).to_dict()["balance"] == [3]
    assert column(store.get_historical_features(
        pd.DataFrame({"user_id": ["ann"], "event_timestamp": [instant(at)]}), ["profile:balance"]
    ), "balance") == [3]  # fmt: skip


def test_a_feature_service_with_an_on_demand_view_reads_windows_online(profiles):
    lab, store = profiles
    at = now() - MINUTE
    profile_rows(lab, event(at, balance=7))
    lab.write([event(at, 1, amount_cents=40), event(at, 2, amount_cents=60)])
    store.materialize(datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC))
    rows = [{"user_id": "ann", "transaction_cents": 25}, {"user_id": "nobody", "transaction_cents": 25}]

    answer = store.get_online_features(store.get_feature_service("svc"), rows, full_feature_names=True).to_dict()

    assert answer["by_user__amount_cents_count_1d"] == [2, 0]
    assert answer["profile__balance"] == [7, None]
    assert answer["against_mean__ratio"][0] == 0.5
    assert answer["against_mean__ratio"][1] is None or answer["against_mean__ratio"][1] != answer["against_mean__ratio"][1]


def test_another_window_of_one_name_is_not_read_from_the_old_state(tmp_path, redis_server):
    lab = Lab(tmp_path, redis_server)
    views = [View("velocity", ("user_id",), (Declared("amount_cents", ("count",), over),)) for over in ("1h", "3d")]
    source, entity = lab.source(), ENTITIES["user_id"]
    store = lab.open()
    emptied(lab, store)
    lab.write([event(NOON - n * 10 * HOUR, n) for n in range(6)])
    store.apply([entity, source, views[0].declared(source)])
    materialize(store)

    store.apply([entity, source, views[1].declared(source)])
    materialize(store)

    assert online(store, [row(0)], NOON + 1, [views[1]])[0]["velocity__amount_cents_count_3d"] == 6


def test_a_view_added_later_catches_up_with_materialize(tmp_path, redis_server):
    lab = Lab(tmp_path, redis_server)
    source = lab.source()
    first, second = (View(name, ("user_id",), (Declared("amount_cents", ("count",), "1d"),)) for name in ("first", "second"))
    store = lab.open()
    emptied(lab, store)
    store.apply([ENTITIES["user_id"], source, first.declared(source)])
    events = [streamed(NOON, n, n) for n in range(3)]
    store.push("events", frame(events))
    lab.write(events)

    store.apply([ENTITIES["user_id"], source, first.declared(source), second.declared(source)])
    materialize(store)
    store.push("events", frame([streamed(NOON, 3, 3)]))

    (answer,) = online(store, [row(0)], NOON + 1, [first, second])
    assert (answer["first__amount_cents_count_1d"], answer["second__amount_cents_count_1d"]) == (4, 4)


def test_other_names_and_types_of_keys(tmp_path, redis_server):
    """An integer key, negative and at the end of int64, beside a renamed one."""
    lab = Lab(tmp_path, redis_server)
    store = emptied(lab, lab.applied())
    devices = [-1, 0, 2**63 - 1, -(2**63)]
    store.push("events", frame([streamed(NOON, n, n, device_id=device, amount_cents=n) for n, device in enumerate(devices)]))

    answers = online(store, [row(0, device_id=device) for device in [*devices, 5]], NOON + 1, VIEWS)

    assert [answer["by_device__amount_cents_max_3d"] for answer in answers] == [0, 1, 2, 3, None]
