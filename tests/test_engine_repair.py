"""What the store lost is found again: materialize puts the log's states there, and the fold what came after them."""

import pytest
from engine_lab import (
    BY_USER,
    NOON,
    Lab,
    client,
    emptied,
    event,
    flipped,
    frame,
    instant,
    materialize,
    online,
    references,
    row,
    streamed,
    to_table,
)
from feast.feature_view import FeatureViewState
from naive import SECOND

from plumbline import Fold, StateUnreadable, state_pieces
from plumbline.fold_scripts import WRITE
from plumbline.store_client import StoreClient

COUNT, REFERENCE = "by_user__amount_cents_count_1d", "by_user:amount_cents_count_1d"
AT = NOON + SECOND
EVENTS = [streamed(NOON, offset, offset, user_id="ann" if offset % 2 else "bob") for offset in range(8)]
"""Offsets 0 to 7 of one partition: ann's are the odd ones, bob's the even."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory, redis_server):
    return Lab(tmp_path_factory.mktemp("repair"), redis_server)


@pytest.fixture(scope="module")
def applied(lab):
    return lab.applied()


@pytest.fixture
def store(lab, applied):
    """Everything is folded; the log is behind, as an archive is: it ends at offset 3."""
    store = emptied(lab, applied)
    store.push("events", frame(EVENTS))
    lab.write(EVENTS[:4])
    return store


def counts(store) -> dict[str, int]:
    return {user: online(store, [row(AT, user_id=user)], AT, [BY_USER])[0][COUNT] for user in ("ann", "bob")}


def states(lab: Lab) -> dict[bytes, bytes]:
    """Key of each entity's states of `by_user` -> the state of partition 0."""
    with client(lab) as store:
        return {key: store.hget(key, "0") for key in store.scan_iter("*:s:by_user:*")}


def key_of(lab: Lab, user: str) -> bytes:
    (key,) = (key for key in states(lab) if user.encode() in key)
    return key


def damage(lab: Lab, user: str) -> None:
    key = key_of(lab, user)
    with client(lab) as store:
        store.hset(key, "0", flipped(store.hget(key, "0"), 700))


def lose(lab: Lab, user: str) -> None:
    with client(lab) as store:
        store.delete(key_of(lab, user))


def resumed(store) -> Fold:
    """A fold that begins, and reads on from the store's positions to the end of the partition."""
    fold = store.fold("events")
    begin = fold.resume([0])[0] or 0
    fold.apply(to_table(EVENTS[begin:]), {0: 7})
    return fold


@pytest.mark.parametrize("harm", [lose, damage])
def test_what_was_folded_after_the_logs_end_is_folded_again_into_a_state_that_was_lost(lab, store, harm):
    harm(lab, "ann")

    materialize(store)
    behind = {**counts(store), "positions": store.positions("by_user")}
    resumed(store)

    assert behind == {"ann": 2, "bob": 4, "positions": {0: 3}}
    assert counts(store) == {"ann": 4, "bob": 4}
    assert store.positions("by_user") == {0: 7}


def test_a_damaged_state_of_a_partition_that_the_log_lacks_is_folded_again_from_its_beginning(lab, store):
    lab.write([event(NOON, 99, user_id="bob")])
    damage(lab, "bob")

    materialize(store)
    fold = resumed(store)

    assert fold.resume([0]) == {0: 8}
    assert counts(store) == {"ann": 4, "bob": 5}


def test_a_damaged_state_that_the_log_does_not_know_yet_is_refused_until_it_does(lab, store):
    lab.write([])
    damage(lab, "bob")
    materialize(store)
    with pytest.raises(StateUnreadable, match="make materialize"):
        counts(store)

    lab.write(EVENTS)
    materialize(store)

    assert counts(store) == {"ann": 4, "bob": 4}


def empty(lab: Lab, _user: str) -> None:
    with client(lab) as store:
        store.flushdb()


def lose_shard(lab: Lab, user: str) -> None:
    """Every key with the hash tag of the user's: what a lost node of a cluster takes with it."""
    tag = key_of(lab, user).split(b"}")[0] + b"}"
    with client(lab) as store:
        store.delete(*(key for key in store.scan_iter() if key.startswith(tag)))


@pytest.mark.parametrize("harm", [empty, lose_shard, damage])
def test_answers_are_true_of_the_positions_they_name_while_all_that_was_lost_comes_back(lab, store, harm):
    history = [event(NOON, number, user_id=user) for number, user in ((90, "ann"), (91, "bob"))]
    lab.write([*history, *EVENTS[:4]])
    materialize(store)

    harm(lab, "ann")
    harmed = answered(store)
    materialize(store)
    from_log = answered(store)
    resumed(store)

    assert harmed == (UNREADABLE if harm is damage else (0, None, False))
    assert from_log == (true_count(3, True), 3, True)
    assert answered(store) == (true_count(7, True), 7, True)


UNREADABLE = ("refused", None, False)
"""In place of an answer: it was refused because a state is damaged."""


def true_count(offset: int | None, with_history: bool) -> int:
    """Ann's events up to an offset, and the one of history."""
    streamed_to = -1 if offset is None else offset
    return sum(e["user_id"] == "ann" and e["source_offset"] <= streamed_to for e in EVENTS) + with_history


def answered(store) -> tuple[object, int | None, bool]:
    """Ann's count, with the offset and whether there is a history behind it."""
    try:
        (answer,) = store.read_online([REFERENCE], [{"user_id": "ann"}], instant(AT))
    except StateUnreadable:
        return UNREADABLE
    positions = answer.positions["by_user"]
    return answer.features[COUNT], positions.get("0"), "history" in positions


def test_a_log_that_is_behind_takes_no_position_back_where_nothing_was_lost(store):
    materialize(store)

    assert store.positions("by_user") == {0: 7}
    assert counts(store) == {"ann": 4, "bob": 4}


def test_a_fold_that_runs_notices_that_its_positions_were_taken_back(lab, store):
    running = resumed(store)
    lose(lab, "ann")
    materialize(store)

    begin = running.resume([0])[0]
    running.apply(to_table(EVENTS[begin:]), {0: 7})

    assert begin == 4
    assert counts(store) == {"ann": 4, "bob": 4}


def test_a_damaged_state_is_left_to_materialize_and_the_others_are_folded(lab, store):
    damage(lab, "ann")
    before = states(lab)
    later = [streamed(NOON + 1, 8 + n, 8 + n, user_id=user) for n, user in enumerate(("ann", "bob"))]

    fold = store.fold("events")
    fold.resume([0])
    told = fold.apply(to_table(later), {0: 9})

    assert told.unreadable > 0
    assert states(lab)[key_of(lab, "ann")] == before[key_of(lab, "ann")]
    assert online(store, [row(AT, user_id="bob")], AT, [BY_USER])[0][COUNT] == 5
    with pytest.raises(StateUnreadable, match="make materialize"):
        store.read_online(references([BY_USER]), [{"user_id": "ann"}])


def test_a_view_is_served_while_it_is_materialized(lab, store):
    materialize(store)
    store.set_feature_view_state("by_user", FeatureViewState.MATERIALIZING)  # as `feast materialize` of another process does
    store.refresh_registry()

    try:
        assert counts(store) == {"ann": 4, "bob": 4}
        assert [a.features[COUNT] for a in store.read_online([REFERENCE], [{"user_id": "ann"}], at=instant(AT))] == [4]
    finally:
        store.set_feature_view_state("by_user", FeatureViewState.AVAILABLE_ONLINE)


class Overtaken(StoreClient):
    """A client before whose next write something else happens."""

    def __init__(self, client: StoreClient) -> None:
        super().__init__(*client.__reduce__()[1])
        self.first = lambda: None

    def scripts(self, script, calls):
        if script == WRITE:
            first, self.first = self.first, lambda: None
            first()
        return super().scripts(script, calls)


@pytest.mark.parametrize("before", [0, 1, 2], ids="{} batches before".format)
def test_a_fold_does_not_overwrite_what_materialize_installed_after_it_read(before, lab, store):
    """However long the fold knew that nobody else wrote: what it read was there no more, what it would write lacks events."""
    plain = store.fold("events")
    client = Overtaken(plain._client)
    fold = Fold(client, plain._keyspace, plain.source, plain.layouts)
    events = [*EVENTS, *(streamed(NOON, offset, offset, user_id="bob") for offset in range(8, 8 + before))]
    lab.write(events)
    fold.resume([0])
    for offset in range(8, 8 + before):
        fold.apply(to_table(events[offset : offset + 1]), {0: offset})
    lose(lab, "ann")
    client.first = lambda: materialize(store)

    fold.apply(to_table([streamed(NOON, 10, 10, user_id="ann")]), {0: 10})

    assert counts(store) == {"ann": 5, "bob": 4 + before}


def fold_in_two_pieces(lab: Lab, applied, monkeypatch: pytest.MonkeyPatch):
    """A store whose states have a settled and a recent piece: whatever its size, a state is written beside the settled one."""
    monkeypatch.setattr(state_pieces, "SPLIT_BYTES", 1)
    store = emptied(lab, applied)
    for first in (0, 4):
        store.push("events", frame(EVENTS[first : first + 4]))
    lab.write(EVENTS[:6])
    return store


@pytest.mark.parametrize("field", ["0", "0+"], ids=["settled", "recent"])
@pytest.mark.parametrize("is_lost", [True, False], ids=["lost", "damaged"])
def test_a_piece_of_a_state_that_was_lost_or_damaged_comes_back_with_what_was_folded_since(
    lab, applied, monkeypatch, field, is_lost
):
    store = fold_in_two_pieces(lab, applied, monkeypatch)
    key = key_of(lab, "ann")
    with client(lab) as inside:
        assert set(inside.hkeys(key)) == {b"0", b"0+"}
        if is_lost:
            inside.hdel(key, field)
        else:
            inside.hset(key, field, flipped(inside.hget(key, field), 700))

    materialize(store)
    lab.write(EVENTS)
    materialize(store)
    resumed(store)

    assert counts(store) == {"ann": 4, "bob": 4}
    assert store.positions("by_user") == {0: 7}


def test_a_state_in_two_pieces_that_is_as_the_log_has_it_stays_as_it_is(lab, applied, monkeypatch):
    store = fold_in_two_pieces(lab, applied, monkeypatch)
    lab.write(EVENTS)
    before = pieces(lab)

    materialize(store)

    assert pieces(lab) == before
    assert all(set(fields) == {b"0", b"0+"} for fields in before.values())


def test_materialize_does_not_replace_a_settled_state_beside_which_a_fold_begins_a_recent_one(lab, applied, monkeypatch):
    monkeypatch.setattr(state_pieces, "SPLIT_BYTES", 1)
    store = emptied(lab, applied)
    store.push("events", frame(EVENTS[:4]))
    lab.write(EVENTS[:6])
    fold = store.fold("events")
    fold.resume([0])
    commit, came = StoreClient.commit, [to_table(EVENTS[4:])]

    def fold_first(self, *arguments):
        while came:
            fold.apply(came.pop(), {0: 7})
        return commit(self, *arguments)

    monkeypatch.setattr(StoreClient, "commit", fold_first)
    materialize(store)

    assert not came
    assert counts(store) == {"ann": 4, "bob": 4}


def pieces(lab: Lab) -> dict[bytes, dict[bytes, bytes]]:
    with client(lab) as inside:
        return {key: inside.hgetall(key) for key in states(lab)}


def test_an_event_of_an_entity_with_a_large_state_writes_little(lab, applied):
    store = emptied(lab, applied)
    store.push("events", frame([streamed(NOON + n, n, n, user_id="ann") for n in range(3_000)]))
    (size,) = [len(fields[b"0"]) for fields in pieces(lab).values()]
    fold = store.fold("events")
    fold.resume([0])
    with client(lab) as inside:
        before = inside.info("stats")["total_net_input_bytes"]
        for offset in range(3_000, 3_100):
            fold.apply(to_table([streamed(NOON + offset, offset, offset, user_id="ann")]), {0: offset})
        written = inside.info("stats")["total_net_input_bytes"] - before

    assert size > 100_000
    assert written / 100 < size / 4  # of all views
    assert online(store, [row(NOON + 4_000, user_id="ann")], NOON + 4_000, [BY_USER])[0][COUNT] == 3_100
