"""A declaration that makes no sense is refused at `feast apply`, in one sentence that says what is allowed."""

from datetime import timedelta

import pytest
from engine_lab import BY_USER, ENTITIES, Lab
from feast import Entity, Field, StreamFeatureView, ValueType
from feast.aggregation import Aggregation
from feast.types import Float64, Int64, String, UnixTimestamp

from plumbline import aggregate, windowed_view

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def lab(tmp_path, redis_server):
    return Lab(tmp_path, redis_server)


def by_hand(lab: Lab, *aggregations: Aggregation, result=Int64, **changes) -> StreamFeatureView:
    """A view of Feast's own class, which checks nothing, over the log's users."""
    names = dict.fromkeys(a.resolved_name(a.time_window) for a in aggregations) | {"user_id": None}
    options = {
        "name": "asked",
        "entities": [ENTITIES["user_id"]],
        "source": lab.source(),
        "ttl": timedelta(0),
        "timestamp_field": "event_timestamp",
        "schema": [Field(name=name, dtype=String if name == "user_id" else result) for name in names],
        "aggregations": list(aggregations),
    }
    return StreamFeatureView(**options | changes)


def one(column="amount_cents", function="sum", over=HOUR, every=None, name=None) -> Aggregation:
    return Aggregation(column=column, function=function, time_window=over, slide_interval=every, name=name)


def registered(lab: Lab) -> list[str]:
    store = lab.open()
    return [o.name for o in (*store.list_all_feature_views(), *store.list_entities(), *store.list_data_sources())]


def refused(lab: Lab, *objects) -> str:
    """The one sentence with which the objects are refused; none of them stays."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the sentence is what each test is about
        lab.open().apply([ENTITIES["user_id"], *objects])

    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert registered(lab) == []
    return sentence


EXACTLY = timedelta(microseconds=1)
REFUSALS = {
    "an unknown function": (one(function="median"), "count, sum, mean, min, max, std, count_distinct, first, last"),
    "a window of nothing": (one(over=timedelta(0)), "longer than zero"),
    "a window before it begins": (one(over=-HOUR), "longer than zero"),
    "a window of no length": (one(over=None), "longer than zero"),
    "a window of more than a hundred years": (one(over=40_000 * DAY), "at most 36525d"),
    "a resolution that does not divide a day": (one(every=timedelta(minutes=7)), "divide one day"),
    "a resolution of a day and a half": (one(over=10 * DAY, every=1.5 * DAY), "multiple of one day"),
    "a resolution longer than the window": (one(over=HOUR, every=2 * HOUR), "at most the window"),
    "an exact window longer than the lateness": (one(over=2 * DAY, every=EXACTLY), "allowed_lateness"),
    "a sum of text": (one("category"), "count, count_distinct, first, last"),
    "a mean of text": (one("category", "mean"), "count, count_distinct, first, last"),
    "a maximum of text": (one("category", "max"), "count, count_distinct, first, last"),
    "a column that the log lacks": (one("amount"), "amount_cents"),
    "a feature named like a column": (one(name="price"), "another name"),
    "a feature named like its column": (one(name="amount_cents"), "another name"),
    "a feature named like a join key": (one(name="user_id"), "another name"),
}


@pytest.mark.parametrize("asked", REFUSALS)
def test_an_aggregation_that_makes_no_sense_is_refused(asked, lab):
    aggregation, allowed = REFUSALS[asked]

    sentence = refused(lab, by_hand(lab, aggregation))

    assert "asked" in sentence
    assert allowed in sentence


def test_a_view_that_is_not_online_is_refused_too(lab):
    assert "median" in refused(lab, by_hand(lab, one(function="median"), online=False))


def test_two_aggregations_of_one_name_are_refused(lab):
    sentence = refused(lab, by_hand(lab, one(name="twice"), one(function="max", name="twice")))

    assert "twice" in sentence
    assert "another name" in sentence


def test_a_log_that_promises_less_lateness_than_an_exact_window_is_refused(lab):
    source = lab.source(tags={"allowed_lateness": "30m"})

    assert "allowed_lateness" in refused(lab, by_hand(lab, one(), source=source))


def test_a_lateness_that_is_no_duration_is_refused(lab):
    source = lab.source(tags={"allowed_lateness": "soon"})

    assert "'10m'" in refused(lab, by_hand(lab, one(), source=source))


def test_a_lateness_of_more_than_a_hundred_years_is_refused(lab):
    source = lab.source(tags={"allowed_lateness": "40000d"})

    assert "at most 36525d" in refused(lab, by_hand(lab, one(), source=source))


def test_a_result_declared_as_another_kind_is_refused(lab):
    assert "int64" in refused(lab, by_hand(lab, one(), result=String))


def test_a_mean_declared_as_an_integer_is_refused(lab):
    assert "double" in refused(lab, by_hand(lab, one(function="mean"), result=Int64))


def test_an_aggregation_without_its_field_is_refused(lab):
    view = by_hand(lab, one(), schema=[Field(name="user_id", dtype=String), Field(name="other", dtype=Int64)])

    assert "sum_amount_cents_3600s" in refused(lab, view)


def test_a_join_key_declared_as_another_kind_than_the_log_holds_is_refused(lab):
    user = Entity(name="user_number", join_keys=["user_id"], value_type=ValueType.INT64)
    schema = [Field(name="user_id", dtype=Int64), Field(name="sum_amount_cents_3600s", dtype=Int64)]

    sentence = refused(lab, user, by_hand(lab, one(), entities=[user], schema=schema))

    assert "'user_id' is declared as int64 but the log holds string" in sentence


def test_a_join_key_that_the_log_lacks_is_refused(lab):
    card = Entity(name="card", join_keys=["card_id"], value_type=ValueType.STRING)
    schema = [Field(name="card_id", dtype=String), Field(name="sum_amount_cents_3600s", dtype=Int64)]

    assert "card_id" in refused(lab, card, by_hand(lab, one(), entities=[card], schema=schema))


def test_a_timestamp_as_a_join_key_of_an_online_view_is_refused(lab):
    moment = Entity(name="moment", join_keys=["event_timestamp"], value_type=ValueType.UNIX_TIMESTAMP)
    schema = [Field(name="event_timestamp", dtype=UnixTimestamp), Field(name="sum_amount_cents_3600s", dtype=Int64)]

    assert "carries whole seconds only" in refused(lab, moment, by_hand(lab, one(), entities=[moment], schema=schema))


def test_a_timestamp_field_that_the_log_lacks_is_refused(lab):
    source = lab.source(timestamp_field="happened_at")

    assert "happened_at" in refused(lab, by_hand(lab, one(), source=source, timestamp_field="happened_at"))


@pytest.mark.parametrize("which", ["timestamp_field", "created_timestamp_column"])
def test_a_time_that_the_log_holds_as_something_else_than_a_timestamp_is_refused(lab, which):
    source = lab.source(**{which: "merchant_id"})
    field = {"timestamp_field": "merchant_id"} if which == "timestamp_field" else {}

    assert "column 'merchant_id' of the log" in refused(lab, by_hand(lab, one(), source=source, **field))


def test_a_source_without_a_timestamp_field_is_refused_where_the_view_is_declared(lab):
    source = lab.source(timestamp_field="", created_timestamp_column="")

    with pytest.raises(ValueError, match="timestamp_field"):
        BY_USER.declared(source)


def test_a_source_without_a_timestamp_field_is_refused_at_apply(lab):
    source = lab.source(timestamp_field="", created_timestamp_column="")

    with pytest.raises(Exception, match="timestamp"):
        lab.open().apply([ENTITIES["user_id"], by_hand(lab, one(), source=source)])

    assert registered(lab) == []


def test_an_unknown_entity_is_refused(lab):
    view = by_hand(lab, one())

    with pytest.raises(Exception, match="user") as caught:
        lab.open().apply([view.stream_source, view])

    assert "\n" not in str(caught.value)
    assert registered(lab) == []


def test_one_view_that_makes_no_sense_keeps_the_others_out(lab):
    good = BY_USER.declared(lab.source())

    assert "median" in refused(lab, good.stream_source, good, by_hand(lab, one(function="median")))


def test_a_refusal_leaves_what_was_applied_before(lab):
    source = lab.source()
    lab.open().apply([ENTITIES["user_id"], source, BY_USER.declared(source)])
    before = sorted(registered(lab))

    with pytest.raises(ValueError, match="median"):
        lab.open().apply([ENTITIES["user_id"], source, by_hand(lab, one(function="median"))])

    assert sorted(registered(lab)) == before


def test_names_are_derived_from_column_function_and_window():
    names = [a.name for a in aggregate("amount_cents", ["sum", "max"], over=["1h", "60m"])]

    assert sorted(names) == [
        "amount_cents_max_1h",
        "amount_cents_max_60m",
        "amount_cents_sum_1h",
        "amount_cents_sum_60m",
    ]


@pytest.mark.parametrize(
    ("over", "name"),
    [
        (timedelta(minutes=60), "1h"),
        (timedelta(minutes=90), "90m"),
        (timedelta(days=7), "7d"),
        (timedelta(hours=48), "2d"),
        (timedelta(seconds=90), "90s"),
        (timedelta(milliseconds=1500), "1500ms"),
    ],
)
def test_a_timedelta_is_named_by_its_largest_dividing_unit(over, name):
    assert [a.name for a in aggregate("amount_cents", "sum", over)] == [f"amount_cents_sum_{name}"]


def test_an_aggregation_keeps_its_window_and_resolution():
    (aggregation,) = aggregate("amount_cents", "std", over="7d", every="1d")

    assert (aggregation.column, aggregation.function) == ("amount_cents", "std")
    assert (aggregation.time_window, aggregation.slide_interval) == (timedelta(days=7), timedelta(days=1))


UNREADABLE = [
    ("amount_cents", "median", "1h"),
    ("amount_cents", "sum", "1 hour"),
    ("amount_cents", "sum", 60),
    ("amount_cents", "sum", "999999999999d"),
    ("amount_cents", "sum", "1h", "0s"),
]


@pytest.mark.parametrize("arguments", UNREADABLE, ids=str)
def test_aggregate_refuses_what_it_cannot_read(arguments):
    with pytest.raises(
        ValueError, match=r"use one of count, .*last|write a whole number|must be (shorter|longer) than"
    ) as caught:
        aggregate(*arguments)

    assert str(caught.value).endswith(".")


def test_a_view_without_aggregations_or_a_push_source_or_an_entity_is_refused(lab):
    source, some = lab.source(), aggregate("amount_cents", "sum", "1h")

    with pytest.raises(ValueError, match="give at least one"):
        windowed_view(name="asked", entities=[ENTITIES["user_id"]], source=source, aggregations=[])
    with pytest.raises(ValueError, match="must be a PushSource"):
        windowed_view(name="asked", entities=[ENTITIES["user_id"]], source=source.batch_source, aggregations=some)
    assert "name at least one entity" in refused(
        lab, windowed_view(name="asked", entities=[], source=source, aggregations=some)
    )


def test_a_views_schema_is_derived_from_the_log(lab):
    view = BY_USER.declared(lab.source())

    types = {field.name: field.dtype for field in view.features}
    assert types["amount_cents_sum_10m"] == Int64
    assert types["amount_cents_mean_10m"] == Float64
    assert types["price_max_1h"] == Float64
    assert types["category_last_1h"] == String
    assert types["category_count_distinct_1h"] == Int64


def test_a_view_of_a_log_to_come_needs_the_raw_columns(tmp_path, redis_server):
    lab = Lab(tmp_path, redis_server)
    (lab.log / "part-0.parquet").unlink()

    with pytest.raises(ValueError, match="schema="):
        BY_USER.declared(lab.source())


def test_a_summed_text_column_is_refused_where_the_view_is_declared(lab):
    with pytest.raises(ValueError, match="count, count_distinct, first, last"):
        windowed_view(
            name="asked",
            entities=[ENTITIES["user_id"]],
            source=lab.source(),
            aggregations=aggregate("category", "sum", "1h"),
        )


def test_a_declaration_survives_the_registry(lab):
    source = lab.source()
    view = BY_USER.declared(source)
    lab.open().apply([ENTITIES["user_id"], source, view])

    stored = lab.open().get_stream_feature_view("by_user")

    def windows(view):
        return [(a.name, a.column, a.function, a.time_window, a.slide_interval) for a in view.aggregations]

    assert windows(stored) == windows(view)
