"""A slowly changing view gives the newest row known within its ttl."""

from datetime import UTC, datetime, timedelta

import naive
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from engine_lab import (
    BY_USER,
    ENTITIES,
    NOON,
    Lab,
    client,
    differences,
    entities,
    event,
    flipped,
    references,
    row,
    to_frame,
    to_table,
)
from feast import FeatureView, Field, FileSource
from feast.types import Float64, Int64, String
from histories import examples, histories
from hypothesis import given
from hypothesis import strategies as st
from naive import DAY, HOUR

from plumbline import StateUnreadable
from plumbline.instant import to_microseconds

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PROFILE = pa.schema([
    ("user_id", pa.string()),
    ("event_timestamp", pa.timestamp("us", "UTC")),
    ("created_timestamp", pa.timestamp("us", "UTC")),
    ("income_cents", pa.int64()),
    ("city", pa.string()),
])  # fmt: skip


def profile_view(lab: Lab, ttl: timedelta) -> FeatureView:
    source = FileSource(
        name=f"profile_{ttl.days}",
        path=str(lab.path / "profile.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )
    fields = [Field(name="income_cents", dtype=Int64), Field(name="city", dtype=String)]
    return FeatureView(name=f"profile_{ttl.days}d", entities=[ENTITIES["user_id"]], ttl=ttl, schema=fields, source=source)


@pytest.fixture(scope="module")
def profiles(tmp_path_factory, redis_server):
    lab = Lab(tmp_path_factory.mktemp("profiles"), redis_server)
    pq.write_table(PROFILE.empty_table(), lab.path / "profile.parquet")
    source = lab.source()
    views = [profile_view(lab, timedelta(days=days)) for days in (0, 2)]
    store = lab.open()
    store.apply([*entities([BY_USER]), source, BY_USER.declared(source), *views])
    return lab, store


@examples(15)
@given(recorded=histories(streamed=False), as_known=st.booleans())
def test_a_slowly_changing_view_gives_the_newest_row_within_its_ttl(profiles, recorded, as_known):
    lab, store = profiles
    unique = {(e["user_id"], e["event_timestamp"], e["created_timestamp"]): e for e in recorded.events}.values()
    rows = [e | {"income_cents": e["amount_cents"], "city": e["category"]} for e in unique]
    pq.write_table(to_table(rows, PROFILE), lab.path / "profile.parquet")
    lab.write(recorded.events)
    features = [*(f"profile_{d}d:{f}" for d in (0, 2) for f in ("income_cents", "city")), *references([BY_USER])]

    answers = (
        store.get_historical_features(
            to_frame(recorded.rows), features, full_feature_names=True, filter_by_created_timestamp=as_known
        )
        .to_arrow()
        .to_pylist()
    )

    assert not differences(answers, recorded.events, recorded.rows, [BY_USER], as_known)
    for answer, asked in zip(answers, recorded.rows, strict=True):
        for days in (0, 2):
            expected = naive.newest(rows, {"user_id": asked["user_id"]}, asked["at"], days * DAY, as_known)
            assert answer[f"profile_{days}d__income_cents"] == (expected and expected["income_cents"])
            assert answer[f"profile_{days}d__city"] == (expected and expected["city"])


def test_the_last_instant_of_a_ttl_is_inside(profiles):
    lab, store = profiles
    pq.write_table(to_table([event(NOON) | {"income_cents": 9, "city": "Oslo"}], PROFILE), lab.path / "profile.parquet")
    rows = [row(NOON - 1), row(NOON), row(NOON + 2 * DAY), row(NOON + 2 * DAY + 1)]

    answer = store.get_historical_features(to_frame(rows), ["profile_2d:city"], full_feature_names=True).to_arrow()

    assert answer.column("profile_2d__city").to_pylist() == [None, "Oslo", "Oslo", None]


def test_a_damaged_row_comes_back_with_materialize_and_not_with_a_write(profiles):
    lab, store = profiles
    row_of_ann = {"user_id": "ann", "event_timestamp": NOON, "created_timestamp": NOON, "income_cents": 7, "city": "Oslo"}
    pq.write_table(to_table([row_of_ann], PROFILE), lab.path / "profile.parquet")
    store.materialize(EPOCH, datetime.now(UTC))
    with client(lab) as inside:
        (key,) = inside.scan_iter("*:r:profile_0d:*ann*")
        for harmed in (flipped(inside.get(key), 300), inside.get(key)[:9]):
            inside.set(key, harmed)
            with pytest.raises(StateUnreadable, match="make materialize"):
                store.write_to_online_store("profile_0d", to_table([row_of_ann], PROFILE).to_pandas())

            store.materialize(EPOCH, datetime.now(UTC))

            answer = store.get_online_features(["profile_0d:income_cents"], [{"user_id": "ann"}]).to_dict()
            assert answer["income_cents"] == [7]


def test_a_view_without_entities_is_the_same_row_for_whoever_asks(tmp_path, redis_server):
    lab, now = Lab(tmp_path, redis_server), datetime.now(UTC)
    published = pa.array([now - timedelta(days=1), now - timedelta(minutes=1)], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"event_timestamp": published, "rate": [2.0, 2.5]}), lab.path / "rates.parquet")
    lab.write([event(to_microseconds(now) - HOUR, amount_cents=40)])
    source, rates = lab.source(), FileSource(path="rates.parquet", timestamp_field="event_timestamp")
    store = lab.open()
    view = FeatureView(name="rates", entities=[], schema=[Field(name="rate", dtype=Float64)], source=rates)
    store.apply([*entities([BY_USER]), source, BY_USER.declared(source), view])

    store.materialize(now - timedelta(days=3), now)
    features, asked = [*references([BY_USER])[:1], "rates:rate"], [{"user_id": "ann"}, {"user_id": None}]
    answers = store.read_online(features, asked, at=now)
    table = store.get_online_features(features, asked[:1]).to_dict()
    recomputed = store.get_historical_features(to_frame([row(to_microseconds(now))]), features).to_arrow()
    (alone,) = store.read_online(["rates:rate"], asked[:1], at=now)  # Feast has taken its key from the view meanwhile
    beside = store.get_online_features(features, asked).to_dict()
    store.materialize(now - timedelta(days=3), now)

    assert alone.features == {"rates__rate": 2.5}
    assert beside["rate"] == [2.5, 2.5]
    assert [answer.features["rates__rate"] for answer in answers] == [2.5, 2.5]
    assert store.get_online_features(features, asked[:1]).to_dict()["rate"] == [2.5]
    assert table["rate"] == recomputed["rate"].to_pylist() == [2.5]
