"""Training features, through Feast's own get_historical_features, are what the definition says."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from engine_lab import (
    BY_DEVICE,
    BY_USER,
    BY_USER_AND_MERCHANT,
    NOON,
    NOVELTY,
    SCHEMA,
    VIEWS,
    Declared,
    Lab,
    View,
    column,
    differences,
    event,
    history,
    instant,
    materialize,
    references,
    row,
    streamed,
    to_frame,
)
from histories import examples, histories, plain_histories
from hypothesis import given
from hypothesis import strategies as st
from naive import DAY, FUNCTIONS, HOUR, MINUTE, SECOND

from plumbline import point_in_time
from plumbline.instant import from_microseconds


@pytest.fixture(autouse=True, scope="module")
def parts_of_a_few_events_and_rows():
    """So that a handful of events is evaluated as a large log is: in several parts, a large entity by windows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(point_in_time, "PART", 3)
        yield


@pytest.fixture(scope="module")
def lab(tmp_path_factory, redis_server):
    return Lab(tmp_path_factory.mktemp("history"), redis_server)


@pytest.fixture(scope="module")
def store(lab):
    return lab.applied()


@examples(40)
@given(recorded=histories(), as_known=st.booleans())
def test_history_equals_the_definition(lab, store, recorded, as_known):
    lab.write(recorded.events)

    answers = history(store, recorded.rows, as_known=as_known).to_arrow().to_pylist()

    assert not differences(answers, recorded.events, recorded.rows, as_known=as_known)


@examples(8)
@given(recorded=histories(), as_known=st.booleans())
def test_windows_over_ids_and_keys_equal_the_definition(tmp_path_factory, redis_server, recorded, as_known):
    lab = Lab(tmp_path_factory.mktemp("novelty"), redis_server)
    lab.write(recorded.events)
    store = lab.applied([NOVELTY])

    answers = history(store, recorded.rows, [NOVELTY], as_known).to_arrow().to_pylist()

    assert not differences(answers, recorded.events, recorded.rows, [NOVELTY], as_known)


@pytest.mark.parametrize("columns", [(), ("event_id",)], ids=["bare", "ids only"])
def test_a_log_without_partitions_is_all_history(columns, tmp_path, redis_server):
    left_out = {"event_id", "source_partition", "source_offset"} - set(columns)
    schema = pa.schema([field for field in SCHEMA if field.name not in left_out])
    lab = Lab(tmp_path, redis_server, schema=schema)
    store = lab.applied()

    @examples(8)
    @given(recorded=plain_histories(), as_known=st.booleans())
    def holds(recorded, as_known):
        numbered = [dict(e, event_id=f"e{-n}") for n, e in enumerate(recorded.events)]
        lab.write(numbered)

        answers = history(store, recorded.rows, as_known=as_known).to_arrow().to_pylist()

        assert not differences(answers, numbered, recorded.rows, as_known=as_known)

    holds()


@examples(6)
@given(
    recorded=histories(),
    windows=st.lists(
        st.sampled_from(
            [("1m", "1s"), ("30m", "30m"), ("7h", "90m"), ("23h", "8h"), ("1d", "1d"), ("45d", "2d"), ("1d", "1m")]
        ),
        min_size=1,
        max_size=3,
        unique=True,
    ),
)
def test_any_allowed_window_and_resolution_equals_the_definition(tmp_path_factory, redis_server, recorded, windows):
    lab = Lab(tmp_path_factory.mktemp("declared"), redis_server)
    lab.write(recorded.events)
    declared = tuple(Declared("amount_cents", FUNCTIONS, over, every) for over, every in dict(windows).items())
    views = (View("by_user", ("user_id",), declared),)
    store = lab.applied(views)

    answers = history(store, recorded.rows, views).to_arrow().to_pylist()

    assert not differences(answers, recorded.events, recorded.rows, views)


def test_the_end_is_open_and_the_start_is_inside(lab, store):
    lab.write([
        event(NOON - 10 * MINUTE - 1, 1, amount_cents=1),  # x [11:50 -------- 12:00)     too old
        event(NOON - 10 * MINUTE, 2, amount_cents=20),     #   x                          the start is inside
        event(NOON - 1, 3, amount_cents=300),              #                 x            the last microsecond
        event(NOON, 4, amount_cents=4000),                 #                  x           itself
    ])  # fmt: skip

    sums = column(history(store, [row(NOON)]), "by_user__amount_cents_sum_10m")

    assert sums == [320]


def test_the_tail_is_floored_to_its_resolution(lab, store):
    lab.write([
        event(NOON - DAY - 1, 1, amount_cents=1),  # before 12:00 yesterday
        event(NOON - DAY, 2, amount_cents=20),     # 12:00 yesterday: the floor of 12:04 yesterday to five minutes
    ])  # fmt: skip

    sums = column(history(store, [row(NOON + 4 * MINUTE), row(NOON + 5 * MINUTE)]), "by_user__amount_cents_sum_1d")

    assert sums == [20, 0]


def test_ties_of_two_entities_at_one_instant_stay_apart(lab, store):
    lab.write([
        event(NOON - 60 * SECOND, 1, user_id="ann"), event(NOON - 60 * SECOND, 2, user_id="ann"),
        event(NOON - 90 * SECOND, 3, user_id="bob", amount_cents=7),
        event(NOON - 60 * SECOND, 4, user_id="bob", amount_cents=7, created_timestamp=NOON - 60 * SECOND),
        event(NOON - 60 * SECOND, 5, user_id="bob", amount_cents=7, created_timestamp=NOON - 60 * SECOND),
    ])  # fmt: skip

    sums = column(history(store, [row(NOON), row(NOON, user_id="bob")]), "by_user__amount_cents_sum_10m")

    assert sums == [200, 21]


def test_events_of_one_instant_do_not_see_each_other(lab, store):
    lab.write([event(NOON, 1), event(NOON, 2)])

    counts = column(history(store, [row(NOON), row(NOON), row(NOON + 1)]), "by_user__amount_cents_count_10m")

    assert counts == [0, 0, 2]


def test_rows_in_are_rows_out_in_order_with_duplicates_and_further_columns(lab, store):
    lab.write([event(NOON - SECOND, 1, user_id="1", merchant_id="23")])
    rows = [row(NOON, user_id=user) for user in ("nobody", "1", None, "1", "1", "nobody")]
    frame = to_frame(rows).assign(label=[5, 4, 3, 2, 1, 0])
    frame.index = [9, 9, 7, 3, 1, 0]

    answer = store.get_historical_features(frame, references(VIEWS), full_feature_names=True).to_arrow()

    assert answer.column("user_id").to_pylist() == ["nobody", "1", None, "1", "1", "nobody"]
    assert answer.column("label").to_pylist() == [5, 4, 3, 2, 1, 0]
    assert answer.column("by_user__amount_cents_count_10m").to_pylist() == [0, 1, 0, 1, 1, 0]


def test_composite_keys_never_collide(lab, store):
    lab.write([event(NOON - SECOND, 1, user_id="1", merchant_id="23"), event(NOON - SECOND, 2, user_id="12", merchant_id="3")])
    rows = [row(NOON, user_id=u, merchant_id=m) for u, m in (("1", "23"), ("12", "3"), ("1", "3"), ("123", ""), ("", "123"))]

    counts = column(history(store, rows), "by_user_and_merchant__amount_cents_count_1h")

    assert counts == [1, 1, 0, 0, 0]


def test_an_unknown_entity_and_a_null_key_have_the_empty_history(lab, store):
    lab.write([event(NOON - SECOND, 1, user_id=None)])
    rows = [row(NOON, user_id="nobody"), row(NOON, user_id=None)]

    answers = history(store, rows, [BY_USER]).to_arrow().to_pylist()

    for answer in answers:
        assert answer["by_user__amount_cents_count_1d"] == 0
        assert answer["by_user__amount_cents_sum_1d"] == 0
        assert answer["by_user__price_sum_1h"] == 0
        assert answer["by_user__category_count_distinct_1h"] == 0
        assert answer["by_user__amount_cents_mean_1d"] is None
        assert answer["by_user__category_last_1h"] is None


def test_a_late_event_is_invisible_before_it_was_known(lab, store):
    lab.write([streamed(NOON - HOUR, 0, created_timestamp=NOON)])
    rows = [row(NOON - 1), row(NOON)]

    known = column(history(store, rows, as_known=True), "by_user__amount_cents_count_1d")
    happened = column(history(store, rows), "by_user__amount_cents_count_1d")

    assert known == [0, 1]
    assert happened == [1, 1]


def test_a_delivery_counts_once(lab, store):
    lab.write([
        streamed(NOON - HOUR, 0, 1, amount_cents=1),
        streamed(NOON - HOUR, 3, 1, amount_cents=20),  # the same id again
        streamed(NOON - HOUR, 1, 2, amount_cents=300),
    ])  # fmt: skip

    assert column(history(store, [row(NOON)]), "by_user__amount_cents_sum_1d") == [301]


def test_a_refused_or_late_delivery_claims_no_id(lab, store):
    lab.write([
        streamed(NOON - HOUR, 0, 1, created_timestamp=NOON + DAY, amount_cents=1),                # too late
        streamed(NOON - HOUR, 1, 1, amount_cents=20),
        streamed(NOON - HOUR, 2, 2, created_timestamp=NOON - HOUR - 6 * MINUTE, amount_cents=300),  # from the future
        streamed(NOON - HOUR, 3, 2, amount_cents=4000),
    ])  # fmt: skip

    assert column(history(store, [row(NOON)]), "by_user__amount_cents_sum_1d") == [4020]


def test_history_is_exempt_from_the_rules_for_deliveries(lab, store):
    lab.write(
        [
            event(NOON - HOUR, 1, created_timestamp=NOON + 30 * DAY),
            event(NOON - HOUR, 2, created_timestamp=NOON - 30 * DAY),
        ]
    )

    assert column(history(store, [row(NOON)]), "by_user__amount_cents_count_1d") == [2]


def test_an_integer_sum_that_leaves_int64_is_an_error(lab, store):
    lab.write([event(NOON - SECOND, n, amount_cents=2**62) for n in range(2)])

    with pytest.raises(Exception, match="amount_cents_sum_10m") as caught:
        history(store, [row(NOON)], [BY_USER]).to_arrow()

    assert "int64" in str(caught.value)


def test_only_the_result_of_an_integer_sum_has_to_fit(lab, store):
    amounts = [2**63 - 1, 2**63 - 1, -(2**63), -(2**63), 7]
    lab.write([event(NOON - 5 * SECOND + n * SECOND, n, amount_cents=amount) for n, amount in enumerate(amounts)])

    job = history(store, [row(NOON)], [BY_DEVICE, BY_USER_AND_MERCHANT])

    assert column(job, "by_device__amount_cents_sum_3d") == [5]


def test_the_mean_of_integers_is_exact_where_their_sum_leaves_int64(tmp_path, redis_server):
    lab = Lab(tmp_path, redis_server)
    lab.write([event(NOON - SECOND - n, n, amount_cents=2**63 - 1 - n) for n in range(3)])
    views = (View("means", ("user_id",), (Declared("amount_cents", ("mean", "std"), "1h"),)),)
    store = lab.applied(views)

    assert column(history(store, [row(NOON)], views), "means__amount_cents_mean_1h") == [float(3 * (2**63 - 2)) / 3.0]


def test_a_float_sum_does_not_lose_small_amounts_beside_large_ones(lab, store):
    prices = [1e15, *[0.06] * 200, -1e15, *[0.07] * 50]
    recorded = [event(NOON - HOUR + n * SECOND, n, price=price) for n, price in enumerate(prices)]
    lab.write(recorded)
    rows = [row(NOON - HOUR + n * SECOND + 1) for n in (1, 100, 200, 201, 250)] + [row(NOON), row(NOON + DAY)]

    answers = history(store, rows).to_arrow().to_pylist()

    assert not differences(answers, recorded, rows)


def test_feature_types_follow_the_column(lab, store):
    lab.write([event(NOON - SECOND)])

    schema = history(store, [row(NOON)], [BY_USER]).to_arrow().schema

    assert schema.field("by_user__amount_cents_count_10m").type == pa.int64()
    assert schema.field("by_user__amount_cents_sum_10m").type == pa.int64()
    assert schema.field("by_user__amount_cents_mean_10m").type == pa.float64()
    assert schema.field("by_user__price_sum_1h").type == pa.float64()
    assert schema.field("by_user__category_last_1h").type == pa.string()
    assert schema.field("by_user__category_count_distinct_1h").type == pa.int64()


def test_instants_of_rows_may_be_naive_or_of_another_zone_or_named_otherwise(lab, store):
    lab.write([event(NOON - SECOND)])
    utc = pd.to_datetime([NOON, NOON - DAY], unit="us", utc=True)
    keys = {"user_id": ["ann", "ann"]}
    frames = {
        "naive": pd.DataFrame(keys | {"event_timestamp": utc.tz_localize(None)}),
        "another zone": pd.DataFrame(keys | {"event_timestamp": utc.tz_convert("Asia/Tokyo")}),
        "microseconds": pd.DataFrame(keys | {"event_timestamp": utc.as_unit("us")}),
        "named otherwise": pd.DataFrame(keys | {"when": utc}),
    }

    for name, frame in frames.items():
        job = store.get_historical_features(frame, ["by_user:amount_cents_count_10m"])
        assert column(job, "amount_cents_count_10m") == [1, 0], name


def test_a_row_with_no_entity_rows_gives_no_rows(lab, store):
    lab.write([event(NOON - SECOND)])

    answer = history(store, [], [BY_USER]).to_arrow()

    assert answer.num_rows == 0
    assert "by_user__amount_cents_sum_1d" in answer.column_names


def test_a_rows_further_columns_may_be_named_like_the_logs(lab, store):
    lab.write([event(NOON - SECOND, 1, amount_cents=5)])
    frame = to_frame([row(NOON)]).assign(amount_cents=[77], created_timestamp=[instant(0)], event_id=["mine"], price=["?"])

    answer = store.get_historical_features(frame, references([BY_USER]), full_feature_names=True).to_arrow().to_pylist()[0]

    assert (answer["amount_cents"], answer["event_id"], answer["price"]) == (77, "mine", "?")
    assert answer["by_user__amount_cents_sum_10m"] == 5


@pytest.mark.parametrize("dtype", ["object", "string", "category", "large_string[pyarrow]"])
def test_text_keys_may_be_of_any_pandas_type(dtype, lab, store):
    lab.write([event(NOON - SECOND)])
    frame = to_frame([row(NOON), row(NOON, user_id=None), row(NOON, user_id="bob")])
    frame["user_id"] = frame["user_id"].astype(pd.ArrowDtype(pa.large_string()) if "arrow" in dtype else dtype)

    job = store.get_historical_features(frame, ["by_user:amount_cents_count_10m"])

    assert column(job, "amount_cents_count_10m") == [1, 0, 0]


@pytest.mark.parametrize("dtype", ["Int64", "float64", "Int32"])
def test_integer_keys_may_be_of_any_pandas_type(dtype, lab, store):
    lab.write([event(NOON - SECOND)])
    frame = to_frame([row(NOON), row(NOON, device_id=None), row(NOON, device_id=8)])
    frame["device_id"] = frame["device_id"].astype(dtype)

    job = store.get_historical_features(frame, ["by_device:amount_cents_sum_3d"])

    assert column(job, "amount_cents_sum_3d") == [100, 0, 0]


@pytest.mark.parametrize("at", [-(2**63) + 1, -62_135_596_800_000_001, 253_402_300_800_000_000, 2**63 - 1])
def test_an_instant_outside_the_years_of_datetime_is_refused_in_entity_rows_and_harmless_in_a_log(at, lab, store):
    lab.write([event(NOON - SECOND, 1), event(at, 2, created_timestamp=at)])
    rows = to_frame([row(NOON)])
    beyond = rows.assign(event_timestamp=pd.DatetimeIndex(np.array([at], "datetime64[us]"), tz="UTC"))
    features = ["by_user:amount_cents_count_1d"]

    assert column(store.get_historical_features(rows, features), "amount_cents_count_1d") == [1]
    with pytest.raises(ValueError, match="'event_timestamp' of the entity rows holds an instant outside the years 1 to 9999"):
        store.get_historical_features(beyond, features)
    materialize(store)
    events = store.heads(["by_user"], {"user_id": row(NOON)["user_id"]})["by_user"].events
    assert {kept.at for kept in events} <= {instant(NOON - SECOND), from_microseconds(at)}
    assert from_microseconds(at).year in (1, 9999)
