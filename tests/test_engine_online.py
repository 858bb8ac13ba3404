"""Online values, through Feast's own materialize, push and get_online_features, are what the definition says."""

import time

import naive
import pytest
from engine_lab import (
    NOON,
    NOVELTY,
    Declared,
    Lab,
    View,
    client,
    differences,
    emptied,
    flipped,
    frame,
    materialize,
    online,
    row,
    streamed,
)
from histories import BASES, History, amounts, cuts, examples, histories, prices
from hypothesis import given
from hypothesis import strategies as st
from naive import DAY, FUNCTIONS, HOUR, MINUTE

from plumbline import AsOfTooOld, state_pieces

PUSHED = 2
"""The partition of a history whose events a test pushes without partition and offset: the slot `push`."""


@pytest.fixture(scope="module", params=[(1 << 20, 1 << 20), (100, 400)], ids=["whole", "in two pieces"], autouse=True)
def pieces(request):
    """Histories are too short for states to be written in two pieces: here whole and in two, whatever their size."""
    with pytest.MonkeyPatch.context() as patch:
        for name, size in zip(("SPLIT_BYTES", "RECENT_BYTES"), request.param, strict=True):
            patch.setattr(state_pieces, name, size)
        yield


@pytest.fixture(scope="module")
def lab(tmp_path_factory, redis_server):
    return Lab(tmp_path_factory.mktemp("online"), redis_server)


@pytest.fixture(scope="module")
def applied(lab):
    return lab.applied()


def newest(events: list[dict]) -> int:
    """The latest instant that the events tell of: their own times, and when a topic took them in."""
    return max((max(e["event_timestamp"], arrived(e)) for e in events), default=NOON)


def arrived(event: dict) -> int:
    return event["created_timestamp"] if naive.streamed(event) else event["event_timestamp"]


@st.composite
def later(draw, events: list[dict]) -> int:
    """An instant at or after all that is known: at once, at a window's edge, next week, now, far ahead."""
    edges = [0, 1, 10 * MINUTE, 10 * MINUTE + 1, HOUR, DAY, DAY + 5 * MINUTE, 3 * DAY, 7 * DAY, 8 * DAY, 400 * DAY]
    return newest(events) + draw(st.one_of(st.sampled_from(edges), st.integers(0, 8 * DAY)))


@examples(20)
@given(data=st.data(), recorded=histories())
def test_materialized_values_equal_the_definition(lab, applied, data, recorded):
    store = emptied(lab, applied)
    lab.write(recorded.events)
    materialize(store)

    for at in {data.draw(later(recorded.events)), newest(recorded.events), time.time_ns() // 1000}:
        if at >= newest(recorded.events):
            assert not differences(online(store, recorded.rows, at), recorded.events, recorded.rows, at=at)


@examples(20)
@given(data=st.data(), recorded=histories(streamed=True))
def test_pushed_partitions_equal_the_definition_after_every_batch(lab, applied, data, recorded):
    store = emptied(lab, applied)
    pushed: list[dict] = []

    for batch in interleaved(data, recorded):
        store.push("events", frame(batch))
        pushed += [e for e in batch if not any(e is known for known in pushed)]

        at = data.draw(later(pushed))
        assert not differences(online(store, recorded.rows, at), pushed, recorded.rows, at=at)


def interleaved(data, recorded: History):
    """Batches of all partitions: each partition's in their order, some of them delivered again."""
    batches = data.draw(cuts(recorded))
    waiting = {partition: list(of_partition) for partition, of_partition in batches.items()}
    while any(waiting.values()):
        partition = data.draw(st.sampled_from([p for p, left in waiting.items() if left]))
        yield waiting[partition].pop(0)
        seen = [b for p, of in batches.items() for b in of[: len(of) - len(waiting[p])]]
        yield from data.draw(st.lists(st.sampled_from(seen), max_size=1))


@examples(20)
@given(data=st.data(), recorded=histories(partitions=3))
def test_history_partitions_and_pushed_rows_add_up(lab, applied, data, recorded):
    store = emptied(lab, applied)
    batches = data.draw(cuts(recorded))
    logged = [e for e in recorded.events if e["source_partition"] is None]
    for partition in (0, 1):
        logged += [e for batch in batches.get(partition, [])[:1] for e in batch]
    lab.write(logged)
    unlogged = [b for p in (0, 1) for b in batches.get(p, [])[1:]]
    unlogged += [[e | {"source_partition": None, "source_offset": None} for e in b] for b in batches.get(PUSHED, [])]

    materialize(store)
    for batch in unlogged:
        store.push("events", frame(batch))

    at = data.draw(later(recorded.events))
    expected = [e if e["source_partition"] != PUSHED else dict(e, source_partition="push") for e in recorded.events]
    assert not differences(online(store, recorded.rows, at), expected, recorded.rows, at=at)

    materialize(store)

    assert not differences(online(store, recorded.rows, at), expected, recorded.rows, at=at)


@examples(15)
@given(data=st.data(), recorded=histories())
def test_a_read_at_any_instant_is_exact_or_refused(lab, applied, data, recorded):
    store = emptied(lab, applied)
    lab.write(recorded.events)
    materialize(store)
    asked = data.draw(st.sampled_from(recorded.rows))

    try:
        answers = online(store, [asked], asked["at"])
    except AsOfTooOld:
        assert asked["at"] < newest(recorded.events) - 5 * MINUTE
    else:
        assert not differences(answers, recorded.events, [asked])


@examples(20)
@given(data=st.data(), recorded=histories(base=BASES[0]))
def test_materialize_repairs_a_lost_key_or_a_flipped_bit(lab, applied, data, recorded):
    store = emptied(lab, applied)
    lab.write(recorded.events)
    materialize(store)
    with client(lab) as damaged:
        key = data.draw(st.sampled_from(sorted(damaged.keys())))
        states = {name: value for name, value in damaged.hgetall(key).items() if len(value) > 20}
        if states and data.draw(st.booleans()):
            name = data.draw(st.sampled_from(sorted(states)))
            damaged.hset(key, name, flipped(states[name], data.draw(st.integers(0, len(states[name]) * 8 - 1))))
        else:
            damaged.delete(key)

    materialize(store)

    at = newest(recorded.events)
    assert not differences(online(store, recorded.rows, at), recorded.events, recorded.rows, at=at)


@examples(8)
@given(data=st.data(), recorded=histories(streamed=True))
def test_windows_over_ids_and_keys_equal_the_definition(tmp_path_factory, redis_server, data, recorded):
    lab = Lab(tmp_path_factory.mktemp("novelty"), redis_server)
    store = emptied(lab, lab.applied([NOVELTY]))
    batches = [batch for of_partition in data.draw(cuts(recorded)).values() for batch in of_partition]
    lab.write([e for batch in batches[:1] for e in batch])

    materialize(store)
    for batch in batches[1:]:
        store.push("events", frame(batch))

    at = data.draw(later(recorded.events))
    answers = online(store, recorded.rows, at, [NOVELTY])
    assert not differences(answers, recorded.events, recorded.rows, [NOVELTY], at=at)


WINDOWS = [("1m", "1s"), ("30m", "30m"), ("7h", "90m"), ("23h", "8h"), ("1d", "1m"), ("10d", "1d"), ("45d", "2d")]


@examples(10)
@given(data=st.data(), windows=st.lists(st.sampled_from(WINDOWS), min_size=1, max_size=3, unique=True))
def test_any_window_and_resolution_stays_exact_as_a_long_stream_is_folded(tmp_path_factory, redis_server, data, windows):
    lab = Lab(tmp_path_factory.mktemp("declared"), redis_server)
    declared = tuple(
        Declared(c, f, *window) for window in windows for c, f in (("amount_cents", FUNCTIONS), ("price", FUNCTIONS))
    )
    views = [View("by_user", ("user_id",), declared)]
    store = emptied(lab, lab.applied(views))
    longest = max(window.window for window in declared)
    at, pushed = NOON, []

    for number in range(data.draw(st.integers(1, 5))):
        batch = []
        for _ in range(data.draw(st.integers(1, 12))):
            at += data.draw(st.one_of(st.integers(0, longest // 8), st.sampled_from([w.slide for w in declared])))
            offset = len(pushed) + len(batch)
            late = data.draw(st.sampled_from([0, 0, 0, 1, HOUR, DAY - 1, DAY]))
            batch.append(
                streamed(
                    at - late,
                    offset,
                    offset,
                    created_timestamp=at,
                    amount_cents=data.draw(amounts()),
                    price=data.draw(prices()),
                )
            )
        store.push("events", frame(batch))
        pushed += batch
        for read_at in (
            at,
            at + data.draw(st.integers(0, longest)),
            at - data.draw(st.integers(0, 5 * MINUTE)),
            at + longest,
        ):
            assert not differences(online(store, [row(0)], read_at, views), pushed, [row(0)], views, at=read_at), number
