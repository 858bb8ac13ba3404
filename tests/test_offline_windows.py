"""What the point-in-time kernel answers, by hand and against the definition."""

import math
from datetime import UTC, datetime, timedelta

import naive
import numpy as np
import pyarrow as pa
import pytest
from histories import KEYS, LATENESS, TAILS, examples, histories
from hypothesis import given
from hypothesis import strategies as st

from plumbline.durations import default_slide_us
from plumbline.entity_keys import EntityKeyError
from plumbline.point_in_time import evaluate
from plumbline.slowly_changing import latest
from plumbline.spec import output_type
from plumbline.view_spec import LogSource, ViewSpec, WindowSpec

US = pa.timestamp("us", tz="UTC")
NOON = datetime(2024, 3, 10, 12, tzinfo=UTC)
MICROSECOND, SECOND, MINUTE = timedelta(microseconds=1), timedelta(seconds=1), timedelta(minutes=1)
EPOCH_7 = datetime(1970, 1, 1, microsecond=7)  # noqa: DTZ001 - a naive time is the case
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LOG = LogSource("payments", "/nowhere", "event_timestamp", "created_timestamp", 86_400_000_000)


def us(duration: timedelta) -> int:
    return duration // MICROSECOND


def window(
    function: str,
    column: str = "amount",
    over: timedelta = HOUR,
    every: timedelta = MICROSECOND,
    of: pa.DataType = pa.int64(),  # noqa: B008
) -> WindowSpec:
    name = f"{column}_{function}"
    return WindowSpec(name, column, function, us(over), us(every), of, output_type(function, of))


def log(*events: tuple, of: pa.DataType = pa.int64()) -> pa.Table:  # noqa: B008
    """Events (time, amount) or (time, amount, created) or (time, amount, created, id) of user 'ann'."""
    padded = [(*event, event[0], "")[:4] if len(event) < 3 else (*event, "")[:4] for event in events]
    times, amounts, created, ids = zip(*padded, strict=True) if events else ((), (), (), ())
    return pa.table(
        {
            "user_id": pa.array(["ann"] * len(events), pa.string()),
            "amount": pa.array(amounts, of),
            "event_timestamp": pa.array(times, US),
            "created_timestamp": pa.array(created, US),
            "event_id": pa.array(ids, pa.string()),
        }
    )


def at(events: pa.Table, instants: list, *windows: WindowSpec, as_known: bool = False, users: list | None = None):
    """One window's values for 'ann' at some instants, or a dict of several windows' values."""
    spec = ViewSpec("spending", ("user_id",), LOG, windows)
    rows = pa.table({"user_id": pa.array(users or ["ann"] * len(instants), pa.string())})
    values = evaluate(events, spec, rows, pa.array(instants, US), as_known).to_pydict()
    return values[windows[0].name] if len(windows) == 1 else values


def test_a_window_includes_its_start_and_leaves_out_its_end():
    events = log(
        (NOON - HOUR - MICROSECOND, 1),  # x [11:00 -------- 12:00)   too old
        (NOON - HOUR, 10),  #               [x                        the start is inside
        (NOON - MICROSECOND, 100),  #        [              x)
        (NOON, 1000),  #                    [                x        the end is outside: itself
    )

    assert at(events, [NOON], window("sum")) == [110]


def test_the_tail_is_floored_to_its_resolution_and_the_head_is_exact():
    events = log((NOON - HOUR, 1), (NOON - HOUR - MICROSECOND, 10), (NOON + 4 * MINUTE, 100))
    tail = window("sum", every=5 * MINUTE)

    assert at(events, [NOON + 4 * MINUTE, NOON + 4 * MINUTE + MICROSECOND], tail) == [1, 101]
    assert at(events, [NOON + 5 * MINUTE], tail) == [100]


def test_the_tail_is_floored_before_1970_too():
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    events = log((epoch - 65 * MINUTE, 1), (epoch - 65 * MINUTE - MICROSECOND, 10))

    assert at(events, [epoch - MINUTE], window("sum", every=5 * MINUTE)) == [1]


def test_nothing_is_zero_for_count_and_sum_and_null_for_the_rest():
    functions = ("count", "count_distinct", "sum", "mean", "min", "max", "std", "first", "last")

    values = at(log((NOON, 5)), [NOON], *[window(f) for f in functions])

    assert [values[f"amount_{f}"] for f in functions] == [[0]] * 3 + [[None]] * 6


def test_every_function_of_a_small_window():
    events = log((NOON - 3 * MINUTE, 2), (NOON - 2 * MINUTE, 4), (NOON - MINUTE, 4), (NOON - 4 * MINUTE, None))
    functions = ("count", "count_distinct", "sum", "mean", "min", "max", "std", "first", "last")

    values = at(events, [NOON], *[window(f) for f in functions])

    assert [values[f"amount_{f}"][0] for f in functions[:-3]] == [3, 2, 10, 10 / 3, 2, 4]
    assert values["amount_std"] == [pytest.approx(math.sqrt(4 / 3), rel=1e-15)]
    assert (values["amount_first"], values["amount_last"]) == ([2], [4])


def test_one_value_has_no_deviation_and_two_equal_ones_have_none_to_speak_of():
    events = log((NOON - 2 * MINUTE, 7), (NOON - MINUTE, 7))

    assert at(events, [NOON - MINUTE, NOON], window("std")) == [None, 0.0]


def test_nan_is_null():
    events = log((NOON - 2 * MINUTE, math.nan), (NOON - MINUTE, 1.5), of=pa.float64())
    functions = ("count", "count_distinct", "sum", "first")

    values = at(events, [NOON], *[window(f, of=pa.float64()) for f in functions])

    assert [values[f"amount_{f}"][0] for f in functions] == [1, 1, 1.5, 1.5]


def test_both_zeros_are_one_value():
    events = log((NOON - 2 * MINUTE, 0.0), (NOON - MINUTE, -0.0), of=pa.float64())

    assert at(events, [NOON], window("count_distinct", of=pa.float64())) == [1]


def test_first_and_last_go_by_time_then_creation_then_id_and_skip_nulls():
    events = log(
        (NOON - MINUTE, 3, NOON, "b"),
        (NOON - MINUTE, 1, NOON - MINUTE, "z"),
        (NOON - MINUTE, 2, NOON, "a"),
        (NOON - MINUTE, None, NOON - MINUTE, "a"),
        (NOON - MINUTE, None, NOON, "c"),
    )

    assert at(events, [NOON], window("first"), window("last")) == {"amount_first": [1], "amount_last": [3]}


def test_integer_sums_are_exact_beyond_what_a_float_or_int64_could_carry_on_the_way():
    largest = 2**63 - 1
    events = log((NOON - 3 * MINUTE, largest), (NOON - 2 * MINUTE, largest), (NOON - MINUTE, -largest))

    assert at(events, [NOON], window("sum")) == [largest]
    assert at(events, [NOON], window("mean")) == [float(largest) / 3]


def test_an_integer_sum_that_leaves_int64_is_an_error_that_names_the_feature():
    events = log((NOON - 2 * MINUTE, 2**63 - 1), (NOON - MINUTE, 1))

    with pytest.raises(OverflowError, match=r"'spending', feature 'amount_sum'.*'ann'.*12:00.*9223372036854775808"):
        at(events, [NOON - MINUTE, NOON], window("sum"))


@pytest.mark.parametrize("total", [2**63, 2**64 + 1, -(2**63) - 1, -(2**64), 3 * 2**62 + 1, -(2**65) + 2**11 + 1])
def test_the_mean_of_integers_rounds_their_exact_sum_once(total):
    parts = [total // 8] * 7 + [total - 7 * (total // 8)]
    events = log(*[(NOON - MINUTE, part) for part in parts], *[(NOON - MINUTE, 2**63 - 1)], (NOON - MINUTE, 1 - 2**63))

    assert at(events, [NOON], window("mean")) == [float(total) / 10]


def test_unsigned_integers_keep_their_whole_range():
    events = log((NOON - 2 * MINUTE, 2**64 - 1), (NOON - MINUTE, 5), of=pa.uint64())

    values = at(events, [NOON], *[window(f, of=pa.uint64()) for f in ("max", "min", "last", "mean")])

    assert values == {
        "amount_max": [2**64 - 1],
        "amount_min": [5],
        "amount_last": [5],
        "amount_mean": [float(2**64 + 4) / 2],
    }


def test_unsigned_integers_are_not_rounded_to_floats():
    events = log((NOON - 2 * MINUTE, 2**53 + 1), (NOON - MINUTE, 2**53 + 3), of=pa.uint64())

    values = at(events, [NOON], window("min", of=pa.uint64()), window("max", of=pa.uint64()))

    assert values == {"amount_min": [2**53 + 1], "amount_max": [2**53 + 3]}


def test_small_float_sums_survive_large_values_that_left_the_window():
    events = log((NOON - 2 * HOUR, 1e300), (NOON - 3 * MINUTE, 0.1), (NOON - 2 * MINUTE, 0.2), of=pa.float64())

    assert at(events, [NOON - HOUR, NOON], window("sum", of=pa.float64())) == [1e300, pytest.approx(0.3, rel=1e-15)]


def test_float_sums_do_not_lose_small_values_between_large_ones():
    events = log((NOON - 3 * MINUTE, 1e16), (NOON - 2 * MINUTE, 1.0), (NOON - MINUTE, -1e16), of=pa.float64())

    assert at(events, [NOON], window("sum", of=pa.float64())) == [1.0]


@pytest.mark.parametrize(
    ("data_type", "values"),
    [
        (pa.string(), ["b", "a", "b"]),
        (pa.bool_(), [True, False, True]),
        (pa.date32(), [NOON.date(), (NOON + DAY).date(), NOON.date()]),
        (US, [NOON, NOON + DAY, NOON]),
        (pa.binary(), [b"b", b"a", b"b"]),
        (pa.decimal128(9, 2), [1, 2, 1]),
    ],
    ids=str,
)
def test_columns_of_any_type_have_count_distinct_first_and_last(data_type, values):
    times = [NOON - 4 * MINUTE, NOON - 3 * MINUTE, NOON - 2 * MINUTE, NOON - MINUTE]
    events = log(*zip(times, [*values, None], strict=True), of=data_type)

    found = at(events, [NOON], *[window(f, of=data_type) for f in ("count", "count_distinct", "first", "last")])

    assert list(found.values()) == [[3], [2], [values[0]], [values[2]]]


def test_rows_come_back_in_order_with_duplicates_and_without_entity():
    events = log((NOON - MINUTE, 1))
    users = ["bob", "ann", None, "ann", "ann"]

    found = at(events, [NOON, NOON, NOON, NOON - HOUR, NOON], window("count"), users=users)

    assert found == [0, 1, 0, 0, 1]


def test_a_row_without_an_instant_sees_nothing():
    assert at(log((NOON - MINUTE, 1)), [None, NOON], window("sum")) == [0, 1]


def test_composite_keys_do_not_collide_and_null_parts_belong_to_nobody():
    events = pa.table(
        {
            "a": ["1", "12", None, "1"],
            "b": ["23", "3", "23", None],
            "amount": [1, 10, 100, 1000],
            "event_timestamp": pa.array([NOON - MINUTE] * 4, US),
            "created_timestamp": pa.array([NOON - MINUTE] * 4, US),
        }
    )
    rows = pa.table({"a": ["1", "12", "1", None], "b": ["23", "3", None, "23"]})
    spec = ViewSpec("pairs", ("a", "b"), LOG, (window("sum"),))

    found = evaluate(events, spec, rows, pa.array([NOON] * 4, US), as_known=False)

    assert found["amount_sum"].to_pylist() == [1, 10, 0, 0]


@pytest.mark.parametrize("keys", [("a", "b"), ("a", "b", "c")], ids=len)
@pytest.mark.parametrize("of", [str, int], ids=["texts", "numbers"])
def test_composite_keys_do_not_collide_however_many_pairs_of_their_parts_there_could_be(keys, of):
    many = 70_000  # 70,000 times 70,000 leaves an int32 twice
    parts = {name: [of(number * step % 99_991) for number in range(many)] for step, name in enumerate(keys, 1)}
    events = pa.table(
        parts
        | {
            "amount": list(range(many)),
            "event_timestamp": pa.array([NOON - MINUTE] * many, US),
            "created_timestamp": pa.array([NOON - MINUTE] * many, US),
        }
    )
    spec = ViewSpec("pairs", keys, LOG, (window("sum"), window("count")))

    found = evaluate(events, spec, pa.table(parts), pa.array([NOON] * many, US), as_known=False)

    assert found["amount_sum"].to_pylist() == list(range(many))
    assert set(found["amount_count"].to_pylist()) == {1}


@pytest.mark.parametrize(
    ("log_type", "row_type", "row_keys"),
    [
        (pa.int32(), pa.int64(), [7, 2**40]),
        (pa.int64(), pa.float64(), [7.0, 7.5]),
        (pa.float64(), pa.int64(), [7, 8]),
        (pa.uint64(), pa.int64(), [7, -7]),
        (pa.string(), pa.dictionary(pa.int32(), pa.string()), ["7", "8"]),
        (pa.large_string(), pa.string(), ["7", "8"]),
        (pa.timestamp("ns"), US, [EPOCH_7, NOON]),
    ],
    ids=str,
)
def test_keys_of_like_types_compare_by_value(log_type, row_type, row_keys):
    stored = {"string": "7", "large_string": "7", "timestamp[ns]": EPOCH_7}.get(str(log_type), 7)
    events = log((NOON - MINUTE, 1)).set_column(0, "user_id", pa.array([stored], log_type))
    rows = pa.table(
        {
            "user_id": pa.array(row_keys, row_type.value_type).dictionary_encode()
            if pa.types.is_dictionary(row_type)
            else pa.array(row_keys, row_type)
        }
    )

    found = evaluate(events, ViewSpec("v", ("user_id",), LOG, (window("count"),)), rows, pa.array([NOON] * 2, US), False)

    assert found["amount_count"].to_pylist() == [1, 0]


@pytest.mark.parametrize("nulls", [pa.nulls(1), pa.nulls(1, pa.float64()), pa.nulls(1).dictionary_encode()], ids=str)
def test_a_key_that_is_null_in_every_row_may_be_of_any_type(nulls):
    spec = ViewSpec("v", ("user_id",), LOG, (window("count"),))
    events, rows = log((NOON - MINUTE, 1)), pa.table({"user_id": ["ann"]})
    instants = pa.array([NOON], US)

    asked = evaluate(events, spec, pa.table({"user_id": nulls}), instants, as_known=False)
    logged = evaluate(events.set_column(0, "user_id", nulls), spec, rows, instants, as_known=False)

    assert asked["amount_count"].to_pylist() == logged["amount_count"].to_pylist() == [0]


def test_keys_of_unlike_types_are_refused():
    rows = pa.table({"user_id": [7]})

    with pytest.raises(EntityKeyError, match="'user_id' is int64 in the entity rows but string in the log"):
        evaluate(log((NOON, 1)), ViewSpec("v", ("user_id",), LOG, (window("count"),)), rows, pa.array([NOON], US), False)


def test_results_take_the_declared_type():
    narrow = WindowSpec("total", "amount", "sum", us(HOUR), 1, pa.int64(), pa.int32())
    real = WindowSpec("total", "amount", "sum", us(HOUR), 1, pa.int64(), pa.float64())
    events = log((NOON - MINUTE, 2**53 + 1))

    assert at(events, [NOON], real) == [float(2**53)]
    with pytest.raises(OverflowError, match=r"'total'.*int32"):
        at(events, [NOON], narrow)


def test_a_column_of_nulls_only_and_an_empty_log_count_nothing():
    empty = log().set_column(1, "amount", pa.nulls(0))
    nulls = log((NOON - MINUTE, None)).set_column(1, "amount", pa.nulls(1))

    for events in (empty, nulls):
        assert at(events, [NOON], window("sum"), window("last")) == {"amount_sum": [0], "amount_last": [None]}
    assert at(log((NOON, 1)), [], window("sum"), window("last")) == {"amount_sum": [], "amount_last": []}


def test_as_known_an_event_counts_from_its_creation_on():
    events = log((NOON - 30 * MINUTE, 1, NOON), (NOON - 10 * MINUTE, 10))
    instants = [NOON - MINUTE, NOON - MICROSECOND, NOON, NOON + 30 * MINUTE, NOON + 31 * MINUTE]

    assert at(events, instants, window("sum"), as_known=True) == [10, 10, 11, 11, 10]
    assert at(events, instants, window("sum")) == [11, 11, 11, 11, 10]


def test_as_known_an_event_that_became_known_after_its_window_never_counts():
    events = log((NOON - DAY, 1, NOON), (NOON - MINUTE, 10))

    assert at(events, [NOON - DAY + MINUTE, NOON, NOON + MINUTE], window("sum"), as_known=True) == [0, 10, 10]


def test_as_known_late_events_enter_every_function_in_any_order():
    events = log(
        (NOON - 50 * MINUTE, 5, NOON),
        (NOON - 40 * MINUTE, 9, NOON - 5 * MINUTE),
        (NOON - 30 * MINUTE, 7),
        (NOON - 20 * MINUTE, 9, NOON),
    )
    functions = ("count", "count_distinct", "sum", "mean", "min", "max", "first", "last")
    instants = [NOON - 6 * MINUTE, NOON - 5 * MINUTE, NOON, NOON + 15 * MINUTE]

    values = at(events, instants, *[window(f) for f in functions], as_known=True)

    assert values["amount_count"] == [1, 2, 4, 3]
    assert values["amount_count_distinct"] == [1, 2, 3, 2]
    assert values["amount_sum"] == [7, 16, 30, 25]
    assert values["amount_mean"] == [7.0, 8.0, 7.5, 25 / 3]
    assert values["amount_min"] == [7, 7, 5, 7]
    assert values["amount_max"] == [7, 9, 9, 9]
    assert values["amount_first"] == [7, 9, 5, 9]
    assert values["amount_last"] == [7, 7, 9, 9]


COLUMNS = {"amount_cents": pa.int64(), "balance": pa.int64(), "price": pa.float64(), "category": pa.string()}
"""Columns of the generated histories."""


def table(events: list[dict]) -> pa.Table:
    times = {
        name: pa.array([e[name] for e in events], pa.int64()).cast(US) for name in ("event_timestamp", "created_timestamp")
    }
    keys = {name: pa.array([e[name] for e in events], pa.int64() if name == "device_id" else pa.string()) for name in KEYS}
    payload = {name: pa.array([e[name] for e in events], of) for name, of in COLUMNS.items()}
    return pa.table(keys | payload | times | {"event_id": pa.array([e["event_id"] for e in events], pa.string())})


def every_window() -> tuple[WindowSpec, ...]:
    specs = []
    for over, every in TAILS:
        for column, of in COLUMNS.items():
            functions = naive.ANY_TYPE_FUNCTIONS if column == "category" else naive.FUNCTIONS
            for function in functions:
                if (column, function) != ("balance", "sum"):
                    name = f"{column}_{function}_{over}"
                    specs.append(WindowSpec(name, column, function, over, every, of, output_type(function, of)))
    return tuple(specs)


@examples(40)
@given(
    history=histories(),
    keys=st.sampled_from((("user_id",), ("user_id", "merchant_id"), ("device_id",), ("merchant_id", "device_id"))),
    as_known=st.booleans(),
)
def test_every_window_equals_its_definition(history, keys, as_known):
    events = naive.accepted(history.events, LATENESS)
    windows = every_window()
    instants = pa.array([row["at"] for row in history.rows], pa.int64()).cast(US)
    rows = table(
        [
            dict.fromkeys((*COLUMNS, "event_id")) | row | dict.fromkeys(("event_timestamp", "created_timestamp"), 0)
            for row in history.rows
        ]
    )

    found = evaluate(table(events), ViewSpec("v", keys, LOG, windows), rows, instants, as_known).to_pylist()

    for row, values in zip(history.rows, found, strict=True):
        entity = {name: row[name] for name in keys}
        for w in windows:
            inputs = naive.inputs(w.column, w.window_us, w.slide_us, events, entity, row["at"], as_known)
            assert naive.equal(values[w.name], w.function, inputs), (w.name, values[w.name], row)


def test_many_random_events_equal_their_definition():
    random = np.random.default_rng(11)
    times = np.sort(random.integers(0, 40 * 3600, 600)) * 1_000_000
    created = times + np.where(random.random(600) < 0.2, random.integers(0, 10 * 3600, 600), 0) * 1_000_000
    events = [
        {
            "user_id": "ann" if i % 3 else "bob",
            "merchant_id": "m",
            "device_id": 1,
            "amount_cents": None if i % 17 == 0 else int(random.integers(-50, 50)),
            "balance": int(random.integers(0, 5)),
            "price": None if i % 13 == 0 else float(random.normal()),
            "category": "abc"[i % 3],
            "event_timestamp": int(times[i]),
            "created_timestamp": int(created[i]),
            "event_id": f"e{i}",
        }
        for i in range(600)
    ]
    order = random.permutation(600)
    windows = tuple(
        WindowSpec(f"{c}_{f}_{over}", c, f, over, default_slide_us(over), COLUMNS[c], output_type(f, COLUMNS[c]))
        for over in (1_800_000_000, 5 * 3_600_000_000)
        for c in COLUMNS
        for f in (naive.ANY_TYPE_FUNCTIONS if c == "category" else naive.FUNCTIONS)
    )
    spec = ViewSpec("v", ("user_id",), LOG, windows)
    asked = [events[i] for i in random.permutation(600)[:60]]
    instants = pa.array([e["event_timestamp"] for e in asked], pa.int64()).cast(US)

    for as_known in (False, True):
        found = evaluate(table([events[i] for i in order]), spec, table(asked), instants, as_known).to_pylist()
        for e, values in zip(asked, found, strict=True):
            for w in windows:
                key = {"user_id": e["user_id"]}
                inputs = naive.inputs(w.column, w.window_us, w.slide_us, events, key, e["event_timestamp"], as_known)
                assert naive.equal(values[w.name], w.function, inputs), (w.name, as_known)


def profile(*rows: tuple) -> pa.Table:
    times, created = zip(*rows, strict=True)
    return pa.table(
        {
            "user_id": ["ann"] * len(rows),
            "event_timestamp": pa.array(times, US),
            "created_timestamp": pa.array(created, US),
        }
    )


def holds(rows: pa.Table, instants: list, ttl: timedelta = timedelta(0), as_known: bool = False) -> list:
    asked = pa.table({"user_id": ["ann"] * len(instants)})
    return latest(rows, ["user_id"], asked, pa.array(instants, US), us(ttl), as_known).to_pylist()


def test_the_newest_row_that_is_not_after_the_instant_holds():
    rows = profile((NOON, NOON), (NOON - DAY, NOON - DAY))

    assert holds(rows, [NOON, NOON - MICROSECOND, NOON - DAY - MICROSECOND]) == [0, 1, None]


def test_a_row_holds_to_the_last_instant_of_its_ttl():
    assert holds(profile((NOON, NOON)), [NOON + HOUR, NOON + HOUR + MICROSECOND], ttl=HOUR) == [0, None]


def test_of_rows_of_one_instant_the_newest_created_holds_and_of_those_the_last():
    rows = profile((NOON, NOON + HOUR), (NOON, NOON + DAY), (NOON, NOON + DAY), (NOON, NOON))

    assert holds(rows, [NOON]) == [2]


def test_as_known_a_correction_holds_from_its_creation_on():
    rows = profile((NOON - DAY, NOON - DAY), (NOON - HOUR, NOON), (NOON - HOUR, NOON + HOUR))

    assert holds(rows, [NOON - MINUTE, NOON, NOON + HOUR], as_known=True) == [0, 1, 2]


@examples(60)
@given(history=histories(), ttl=st.sampled_from((0, naive.HOUR, naive.DAY)), as_known=st.booleans())
def test_the_newest_row_equals_its_definition(history, ttl, as_known):
    rows = [{"user_id": r["user_id"]} for r in history.rows]
    instants = pa.array([row["at"] for row in history.rows], pa.int64()).cast(US)
    asked = pa.table({"user_id": pa.array([r["user_id"] for r in rows], pa.string())})

    found = latest(table(history.events), ["user_id"], asked, instants, ttl, as_known).to_pylist()

    for row, key, position in zip(history.rows, rows, found, strict=True):
        candidates = [dict(e, number=i) for i, e in enumerate(history.events)]
        expected = naive.newest(candidates, key, row["at"], ttl, as_known)
        chosen = None if position is None else history.events[position]
        same = ("event_timestamp", "created_timestamp")
        assert (expected is None) == (chosen is None)
        assert expected is None or all(expected[name] == chosen[name] for name in same)
