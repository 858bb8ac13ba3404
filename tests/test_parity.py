"""Parity: every logged answer is what the log says, and an answer that is not is told with its cause."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import serving_lab
from applied_repo import apply_definitions
from prometheus_client import CollectorRegistry, generate_latest
from stream_lab import send, settings_for, store_client, transaction, until, value_of

from feature_repo import open_store
from feature_repo.settings import Settings
from pipelines.parity import causes
from pipelines.parity.__main__ import Parity, once
from pipelines.parity.parity_metrics import ParityMetrics
from pipelines.parity.tally import Mismatch, Tally
from plumbline import FeatureStore
from stack import topics
from streaming import manifests
from streaming.archive_files import write
from streaming.door import Record, admit
from streaming.event_topics import TRANSACTIONS, allowed_lateness_us
from streaming.parity_figures import ParityFigures

COUNT, SUM = "user_activity__event_id_count_1d", "user_payments__payment_cents_sum_1d"


@dataclass
class World:
    """Topics, a log and a store over them that the test fills itself: what goes where is what it is about."""

    settings: Settings
    store: FeatureStore
    ends: dict[int, int] = field(default_factory=dict)

    def deliver(self, user_id: str, *, to_log: bool = True, to_state: bool = True, **columns: Any) -> str:
        """One payment of a user, one minute ago, sent to the topic, written to the log and folded; returns its id."""
        event = transaction(user_id, event_timestamp=(datetime.now(UTC) - timedelta(minutes=1)).isoformat()) | columns
        (place,) = send(self.settings.kafka_bootstrap_servers, "transactions", [(user_id, value_of(event))])
        record = Record(*place, int(datetime.now(UTC).timestamp() * 1000), user_id.encode(), value_of(event))
        rows, _ = admit(TRANSACTIONS, [record], allowed_lateness_us(TRANSACTIONS))
        if to_log:
            self.log(rows)
        if to_state:
            self.fold(rows)
        return event["event_id"]

    def log(self, rows: pa.Table) -> None:
        """Archive one row, with all that was before it in its partition."""
        (row,) = rows.to_pylist()
        partition, offset = row["source_partition"], row["source_offset"]
        day = f"event_date={row['event_timestamp']:%Y-%m-%d}"
        write(rows, self.settings.transactions_path / day / f"archive-p{partition}-o{offset}-0.parquet")
        self.reach({partition: offset})

    def reach(self, ends: dict[int, int]) -> None:
        self.ends |= ends
        manifests.commit(self.settings.transactions_path, self.ends)

    def fold(self, rows: pa.Table) -> None:
        self.store.push("transactions", rows.to_pandas(integer_object_nulls=True))

    def answer(self, user_id: str, **changes: Any) -> dict[str, Any]:
        """What the API logs about a score of the user's account."""
        (read,) = self.store.read_online("account_risk_v1", [{"user_id": user_id}])
        return {
            "request_id": f"r-{user_id}",
            "user_id": user_id,
            "entity_row": {"user_id": user_id},
            "as_of": read.as_of.isoformat(),
            "positions": json.loads(json.dumps(read.positions)),
            "features": read.features,
            "feature_service": "account_risk_v1",
            "definition_hash": self.store.definition_hash("account_risk_v1"),
            **changes,
        }

    def decide(self, *answers: dict[str, Any]) -> None:
        """Put answers into the topic, as the API does."""
        send(self.settings.kafka_bootstrap_servers, "decisions", [(a["user_id"], value_of(a)) for a in answers])


@pytest.fixture(scope="module")
def world(broker: str, redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> World:
    topics.recreate(broker)
    settings = settings_for(broker, redis_server, tmp_path_factory.mktemp("parity"))
    store_client(settings).flushdb()
    for log in (settings.transactions_path, settings.labels_path):
        manifests.recover(log)
    apply_definitions(settings)
    world = World(settings, open_store(settings))
    for _ in range(3):
        for user_id in ("anna", "berta", "cora"):
            world.deliver(user_id)
    return world


@contextmanager
def parity_of(world: World) -> Iterator[Parity]:
    """A check that has seen everything logged so far, and counts from there."""
    parity = Parity(world.settings, say=lambda _: None)
    try:
        list(parity._answers.new())
        parity._answers.unreadable = 0
        yield parity
    finally:
        parity.close()


def mismatch_of(world: World, answer: dict[str, Any], feature: str = COUNT) -> Mismatch:
    """How parity tells that a feature of the user is wrong."""
    with parity_of(world) as parity:
        world.decide(answer)
        code = once(parity, within_s=0, say=lambda _: None)
    found = {mismatch.feature: mismatch for mismatch in parity.tally.examples}
    assert code == 1
    assert {mismatch.cause.name for mismatch in found.values()} == {found[feature].cause.name}
    return found[feature]


def test_scored_answers_are_what_the_log_says(world: World, tmp_path: Path):
    models = serving_lab.both_models(tmp_path, world.store)
    payment = {"merchant_id": "bakery", "device_id": None, "amount_cents": 700, "event_type": "payment"}
    bodies = [{"user_id": user_id} for user_id in ("anna", "berta", "a stranger")]
    bodies += [{**body, "transaction": payment} for body in bodies]

    with parity_of(world) as parity, serving_lab.running(world.settings, world.store, models) as service:
        serving_lab.await_ready(service.client)
        answers = [service.score(body).json() for body in bodies]
        until(lambda: parity._answers.waiting() == len(bodies))
        code = once(parity, within_s=0, say=lambda _: None)

    tally = parity.tally
    assert code == 0
    assert (tally.answers, tally.equal, tally.different, tally.different_values) == (6, 6, 0, 0)
    assert tally.values == sum(len(answer["features"]) for answer in answers) > 300
    assert answers[0]["features"][COUNT] == 3


def test_what_training_knew_and_the_fold_had_not_applied_yet_is_the_effect_of_lag_and_no_mismatch(world: World):
    world.deliver("lena")
    in_time = world.answer("lena")
    world.deliver("lena", to_state=False, amount_cents=12_345)
    late = world.answer("lena") | {"request_id": "r-late"}

    with parity_of(world) as parity:
        world.decide(in_time)
        world.decide(late)
        code = once(parity, within_s=0, say=lambda _: None)
    effect = parity.tally.effect_of_lag
    report = json.loads((world.settings.reports_path / "parity.json").read_text())

    assert (code, parity.tally.equal, parity.tally.different) == (0, 2, 0)
    assert (late["features"][COUNT], in_time["features"][COUNT]) == (1, 1)
    assert (effect.answers, effect.answers_that_differ) == (2, 1)
    assert effect.values == len(in_time["features"]) + len(late["features"])
    assert 10 < effect.values_that_differ < len(late["features"])
    assert report["effect_of_lag"] == effect._asdict()


def test_an_answer_that_is_logged_twice_or_still_waits_to_be_sent_is_checked_once(world: World):
    sent, spooled = world.answer("anna", request_id="sent"), world.answer("berta", request_id="spooled")
    spool = world.settings.data_dir / "spool" / "decisions.jsonl"
    spool.parent.mkdir(exist_ok=True)

    with parity_of(world) as parity:
        world.decide(sent, sent)
        spool.write_bytes(value_of(sent) + b"\n" + value_of(spooled) + b"\n" + value_of(spooled)[:40])
        parity.check()
        parity.check()
    spool.unlink()

    assert (parity.tally.answers, parity.tally.equal) == (2, 2)


def test_a_record_of_other_kinds_than_an_answers_is_counted_as_unreadable(world: World):
    answer = world.answer("clara")

    with parity_of(world) as parity:
        for name, foreign in (("entity_row", "u"), ("positions", None), ("features", 7), ("as_of", 0)):
            world.decide(answer | {"request_id": f"foreign {name}", name: foreign})
        world.decide(answer)
        parity.check()

    assert (parity.tally.unreadable, parity.tally.answers, parity.tally.equal) == (4, 1, 1)


def test_an_answer_ahead_of_the_log_is_pending_until_the_archive_has_written_what_it_rests_on(world: World):
    event_id = world.deliver("dora", to_log=False)
    answer = world.answer("dora")

    with parity_of(world) as parity:
        world.decide(answer)
        early = once(parity, within_s=0, say=lambda _: None)
        pending = len(parity.tally.pending)
        late = transaction("dora", event_id=event_id)
        (place,) = ((int(p), o) for p, o in answer["positions"]["user_activity"].items() if o > world.ends.get(int(p), -1))
        late["event_timestamp"] = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
        record = Record(*place, int(datetime.now(UTC).timestamp() * 1000), b"dora", value_of(late))
        world.log(admit(TRANSACTIONS, [record], 10**12)[0])
        done = once(parity, within_s=0, say=lambda _: None)

    assert (early, pending) == (0, 1)
    assert (done, len(parity.tally.pending), parity.tally.equal) == (0, 0, 1)


def test_an_answer_of_a_history_that_was_replaced_is_unverifiable_and_no_mismatch(world: World):
    answer = world.answer("anna", request_id="old history")
    answer["positions"]["user_payments"]["history"] = 7

    with parity_of(world) as parity:
        world.decide(answer, {"request_id": "no answer at all", "user_id": "anna"})
        code = once(parity, within_s=0, say=lambda _: None)

    assert code == 0
    assert dict(parity.tally.unverifiable) == {"user_payments rests on history 7; the log now holds 0.": 1}
    assert parity.tally.unreadable == 1


def test_an_answer_that_was_given_without_the_store_is_unverifiable_and_no_mismatch(world: World):
    answer = world.answer("anna", request_id="degraded") | {"degraded": True}
    answer["features"] = dict.fromkeys(answer["features"], 12_345)

    with parity_of(world) as parity:
        world.decide(answer)
        code = once(parity, within_s=0, say=lambda _: None)

    assert code == 0
    assert list(parity.tally.unverifiable.values()) == [1]
    assert parity.tally.values == 0


def test_an_event_that_the_state_lost_is_named(world: World):
    lost = world.deliver("emma", to_state=False)
    world.deliver("emma", amount_cents=7)

    mismatch = mismatch_of(world, world.answer("emma"), SUM)

    assert (mismatch.online, mismatch.offline) == (7, 107)
    assert mismatch.cause.name == causes.MISSING_IN_STATE
    assert mismatch.cause.detail.startswith(f"{lost} (partition")


def test_an_event_that_the_log_lost_is_found_in_the_topic(world: World):
    lost = world.deliver("fay", to_log=False)
    world.deliver("fay", amount_cents=7)

    mismatch = mismatch_of(world, world.answer("fay"))

    assert (mismatch.online, mismatch.offline) == (2, 1)
    assert mismatch.cause.name == causes.MISSING_IN_LOG
    assert mismatch.cause.detail.startswith(f"{lost} (partition")


def test_a_redelivery_that_was_counted_is_named(world: World):
    twice = world.deliver("gina")
    client = store_client(world.settings)
    for claims in client.scan_iter("*:c:transactions:*"):
        client.delete(claims)
    world.deliver("gina", event_id=twice)

    mismatch = mismatch_of(world, world.answer("gina"))

    assert (mismatch.online, mismatch.offline) == (2, 1)
    assert mismatch.cause.name == causes.COUNTED_TWICE
    assert mismatch.cause.detail.startswith(f"{twice} (partition")


def test_an_event_that_was_counted_although_it_came_too_late_is_named(world: World):
    a_day_and_a_bit_ago = datetime.now(UTC) - timedelta(days=1, minutes=30)
    world.deliver("hanna")
    late = transaction("hanna", event_timestamp=a_day_and_a_bit_ago.isoformat())
    (place,) = send(world.settings.kafka_bootstrap_servers, "transactions", [("hanna", value_of(late))])

    def rows(appended_at: datetime) -> pa.Table:
        record = Record(*place, int(appended_at.timestamp() * 1000), b"hanna", value_of(late))
        return admit(TRANSACTIONS, [record], allowed_lateness_us(TRANSACTIONS))[0]

    world.log(rows(datetime.now(UTC)))
    world.fold(rows(a_day_and_a_bit_ago + timedelta(seconds=1)))  # by a clock of its own
    answer = world.answer("hanna")

    with parity_of(world) as parity:
        world.decide(answer)
        code = once(parity, within_s=0, say=lambda _: None)

    assert code == 1
    assert {m.cause.name for m in parity.tally.examples} == {causes.TOO_LATE}
    assert late["event_id"] in parity.tally.examples[0].cause.detail


def test_values_of_an_earlier_instant_are_told_as_decay(world: World):
    world.deliver("ida")
    remembered = world.answer("ida")
    a_day_later = datetime.fromisoformat(remembered["as_of"]) + timedelta(days=1, minutes=30)

    mismatch = mismatch_of(world, remembered | {"as_of": a_day_later.isoformat()})

    assert (mismatch.online, mismatch.offline) == (1, 0)
    assert mismatch.cause.name == causes.DECAY


def test_answers_of_another_definition_are_told_as_such(world: World):
    old = datetime.now(UTC) - timedelta(minutes=75)
    world.deliver("jane", event_timestamp=old.isoformat())
    before = world.answer("jane")
    changed = world.store.get_stream_feature_view("user_activity")
    (aggregation,) = (each for each in changed.aggregations if each.name == "event_id_count_1h")
    aggregation.time_window = timedelta(hours=2)

    world.store.apply([changed])
    with parity_of(world) as parity:
        world.decide(before)
        code = once(parity, within_s=0, say=lambda _: None)
    apply_definitions(world.settings)

    (mismatch,) = parity.tally.examples
    assert code == 1
    assert (mismatch.feature, mismatch.online, mismatch.offline) == ("user_activity__event_id_count_1h", 0, 1)
    assert mismatch.cause.name == causes.DEFINITION_CHANGED


def test_the_totals_are_told_to_prometheus_and_kept_in_the_report(world: World):
    world.deliver("kate")
    wrong = world.answer("kate")
    wrong["features"][COUNT] = 41

    with parity_of(world) as parity:
        world.decide(wrong)
        once(parity, within_s=0, say=lambda _: None)
    registry = CollectorRegistry()
    registry.register(ParityMetrics(parity.tally))
    told = generate_latest(registry).decode()

    assert 'plumbline_parity_answers{verdict="different"} 1.0' in told
    assert 'plumbline_parity_mismatches{cause="unexplained"} 1.0' in told
    assert 'plumbline_parity_mismatches{cause="decay"} 0.0' in told
    report = json.loads((world.settings.reports_path / "parity.json").read_text())
    assert report["mismatches"] == report["by_cause"]["unexplained"] == 1
    assert "answered 41, the log says 1" in report["examples"][0]


def test_the_folds_metrics_tell_the_last_report(tmp_path: Path):
    registry, report = CollectorRegistry(), tmp_path / "parity.json"
    registry.register(ParityFigures(report))
    before = generate_latest(registry).decode()

    report.write_text(json.dumps(Tally(answers=2, equal=1, different=1, mismatches=Counter(decay=3)).report()))

    assert before == ""
    assert 'plumbline_parity_report_mismatches{cause="decay"} 3.0' in generate_latest(registry).decode()
