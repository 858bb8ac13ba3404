"""Bad records in the middle of good traffic: each ends among the dead letters, for fold and archive alike."""

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pyarrow.dataset as pads
import pytest
from applied_repo import apply_definitions
from kafka import KafkaProducer
from stream_lab import (
    last_offsets,
    records_of,
    running,
    send,
    settings_for,
    store_client,
    transaction,
    until,
)
from test_stream_door import bad_labels, bad_transactions

from feature_repo import open_store, store_environment
from feature_repo.settings import PROJECT_ROOT, Settings
from plumbline import FeatureStore
from stack import services, topics
from streaming import manifests
from streaming.event_topics import DEAD_LETTER
from streaming.letter_file import Letter, read_file, read_letters, write_file
from streaming.letter_file import Place as LetterPlace
from streaming.resubmission import resubmit

Place = tuple[int, int]
USER, MERCHANT = "carl", "the-kiosk"
OTHERS_KEY = "somebody else"
TWO_DAYS_AGO = (datetime.now(UTC) - timedelta(days=2)).isoformat()


def event(**columns: object) -> bytes:
    """A payment of Carl's, one minute ago; columns replace its own."""
    a_minute_ago = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    own = {"event_timestamp": a_minute_ago, "merchant_id": MERCHANT, "amount_cents": 1250}
    return json.dumps(transaction(USER) | own | columns).encode()


def good_records(good: Callable[..., bytes], number: int) -> list[tuple[str, bytes]]:
    """Records that count: plain ones, and the ones that only look odd."""
    odd = [
        (USER, good(note={"deep": [1, 2]}, created_timestamp="1999", source_offset=-7, too_late=True)),
        (USER, good(note="x" * 1_000_000)),
        (OTHERS_KEY, good()),
    ]
    return [*odd, *((USER, good()) for _ in range(number - len(odd)))]


def mixed(good: list[tuple[str, bytes]], bad: list[bytes | None]) -> list[tuple[str, bytes | None]]:
    """Good and bad records in turn, good ones first and last."""
    pairs = itertools.zip_longest(good, [(USER, value) for value in bad])
    return [record for pair in pairs for record in pair if record is not None]


@dataclass
class Sent:
    """Both topics with good, late and bad records in turn, read to their ends by a fold and an archive that run."""

    settings: Settings
    store: FeatureStore
    bad: dict[str, dict[str, tuple[bytes | None, str]]]
    places: dict[str, dict[Place, tuple[str, bytes | None]]] = field(default_factory=dict)

    def send(self, topic: str, records: list[tuple[str, bytes | None]]) -> dict[Place, tuple[str, bytes | None]]:
        return dict(zip(send(self.settings.kafka_bootstrap_servers, topic, records), records, strict=True))

    def is_read(self) -> bool:
        """Whether fold and archive have passed every record of both topics."""
        ends = {topic: last_offsets(self.settings.kafka_bootstrap_servers, topic) for topic in self.bad}
        views = {"transactions": "user_activity", "labels": "merchant_chargebacks"}
        return all(
            self.store.positions(views[topic]) == manifests.committed(self.settings.events_dir / topic) == of_topic
            for topic, of_topic in ends.items()
        )

    def letters_of(self, topic: str) -> dict[Place, tuple[bytes | None, bytes | None, str]]:
        """Place in the topic -> key, value and reason of its dead letter, of the records that were sent first."""
        found = {}
        for letter in records_of(self.settings.kafka_bootstrap_servers, "transactions.dead-letter"):
            headers = {name: value.decode("utf-8") for name, value in letter.headers}
            place = int(headers["source_partition"]), int(headers["source_offset"])
            if headers["source_topic"] == topic and place in self.places[topic]:
                assert place not in found
                found[place] = (letter.key, letter.value, headers["error"])
        return found

    def logged(self, topic: str) -> dict[Place, dict]:
        """Place in the topic -> row of the log, of the records that were sent first."""
        rows = pads.dataset(self.settings.events_dir / topic, partitioning="hive").to_table().to_pylist()
        by_place = {(row["source_partition"], row["source_offset"]): row for row in rows}
        assert len(by_place) == len(rows)
        return {place: row for place, row in by_place.items() if place in self.places[topic]}

    def replay(self, *arguments: str) -> tuple[int, str]:
        """Exit code and words of `make replay`."""
        command = [sys.executable, "-m", "streaming.replay", *arguments]
        environment = {**os.environ, **store_environment(self.settings)}
        environment["KAFKA_BOOTSTRAP_SERVERS"] = self.settings.kafka_bootstrap_servers
        done = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def sent(broker: str, redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    topics.recreate(broker)
    settings = settings_for(broker, redis_server, tmp_path_factory.mktemp("bad"))
    store_client(settings).flushdb()
    apply_definitions(settings)
    label, now = partial(event, is_fraud=1, fraud_amount_cents=1), datetime.now(UTC)
    sent = Sent(
        settings, open_store(settings), {"transactions": bad_transactions(event, now), "labels": bad_labels(label, now)}
    )
    good = {"transactions": good_records(event, 60), "labels": good_records(label, 60)}
    good["transactions"][30] = (USER, event(event_timestamp=TWO_DAYS_AGO))
    with running(services.fold(settings), settings), running(services.archive(settings), settings):
        for topic, bad in sent.bad.items():
            sent.places[topic] = sent.send(topic, mixed(good[topic], [value for value, _ in bad.values()]))
        until(sent.is_read, within_s=90)
        yield sent


def is_bad(bad: Mapping[str, tuple[bytes | None, str]], value: bytes | None) -> bool:
    return any(value == other for other, _ in bad.values())


@pytest.mark.parametrize("topic", ["transactions", "labels"])
def test_every_bad_record_is_a_dead_letter_with_its_bytes_and_a_reason(sent: Sent, topic: str):
    words = dict(sent.bad[topic].values())
    refused = {place: record for place, record in sent.places[topic].items() if is_bad(sent.bad[topic], record[1])}

    letters = sent.letters_of(topic)

    assert len(refused) == len(sent.bad[topic]) >= 45
    for place, (key, value) in refused.items():
        assert letters[place][:2] == (key.encode(), value)
        assert words[value] in letters[place][2]


@pytest.mark.parametrize("topic", ["transactions", "labels"])
def test_the_log_holds_exactly_the_records_that_the_fold_did_not_refuse(sent: Sent, topic: str):
    rows, letters = sent.logged(topic), sent.letters_of(topic)

    late = {place for place, row in rows.items() if row["too_late"]}
    assert rows.keys() | letters.keys() == sent.places[topic].keys()
    assert rows.keys() & letters.keys() == late
    assert [row["event_timestamp"].isoformat() for row in rows.values() if row["too_late"]] == (
        [TWO_DAYS_AGO] if topic == "transactions" else []
    )


def test_nothing_good_is_lost_between_bad_records(sent: Sent):
    features = [
        "user_activity:event_id_count_1d",
        "user_payments:payment_cents_sum_1d",
        "merchant_chargebacks:fraud_id_count_1d",
    ]

    (answer,) = sent.store.read_online(features, [{"user_id": USER, "merchant_id": MERCHANT}])

    assert list(answer.features.values()) == [59, 59 * 1250, 60]


def test_dead_letters_are_listed_for_repair_and_every_record_is_accounted_for(sent: Sent):
    twice = event(event_id="twice", user_id="otto")
    sent.send("transactions", [("otto", twice), ("otto", twice)])
    until(sent.is_read)

    code, said = sent.replay()

    assert code == 0, said
    dead = len(sent.bad["labels"])
    assert f"labels: {60 + dead} produced = 60 folded + 0 duplicates + 0 too late + {dead} dead\n" in said
    counts = re.search(r"transactions: (\d+) produced = (\d+) folded \+ 1 duplicates \+ 1 too late \+ (\d+) dead\n", said)
    assert int(counts[1]) == int(counts[2]) + 2 + int(counts[3])
    lines = (sent.settings.data_dir / "dead-letters.jsonl").read_text().splitlines()
    assert len(lines) >= dead + 45


def test_repaired_letters_are_sent_once_and_count(sent: Sent, tmp_path: Path):
    (cut_off, negative, bytes_left, hopeless) = sent.send(
        "transactions", [("rita", event(user_id="rita")[:-9]), ("rita", b"-1"), ("rita", b"\xff"), ("rita", b"[]")]
    )
    until(sent.is_read)
    lines = {cut_off: event(user_id="rita").decode(), negative: json.loads(event(user_id="rita"))}
    values = {**lines, hopeless: '{"event_id": "e-1"}', (3, 10**6): "{}"}
    repaired = [{"topic": "transactions", "partition": p, "offset": o, "value": value} for (p, o), value in values.items()]
    kept = {"topic": "transactions", "partition": bytes_left[0], "offset": bytes_left[1], "value_base64": "/w=="}
    path = tmp_path / "repaired.jsonl"
    path.write_text("\n".join(map(json.dumps, [*repaired, kept])))

    first, second = sent.replay("--input", str(path)), sent.replay("--input", str(path))

    assert first[0] == second[0] == 1
    assert "2 sent, 0 were sent before, 1 are as they were, 2 would be refused again." in first[1]
    assert "Object missing required field `user_id`" in first[1]
    assert "there is no such dead letter" in first[1]
    assert "0 sent, 2 were sent before, 1 are as they were, 2 would be refused again." in second[1]
    until(sent.is_read)
    (answer,) = sent.store.read_online(["user_activity:event_id_count_1d"], [{"user_id": "rita"}])
    assert answer.features == {"user_activity__event_id_count_1d": 2}
    listed = sent.replay()
    assert "2 of them sent again after repair" in listed[1]
    assert listed[0] == 0, listed[1]


def test_a_letter_is_one_line_of_the_file_whatever_characters_its_value_has(tmp_path: Path):
    values = {
        LetterPlace("transactions", 0, n): f'{{"category": "a{c}b"}}'.encode() for n, c in enumerate("\x85\u2028\u2029\x1c\r")
    }
    path = tmp_path / "letters.jsonl"

    write_file(path, [Letter(place, b"carl", value, "a control character", 0) for place, value in values.items()])

    assert dict(read_file(path)) == values


def test_a_record_of_somebody_else_among_the_dead_letters_hinders_no_replay(empty_topics: str):
    ours = [("source_topic", b"transactions"), ("source_partition", b"1"), ("source_offset", b"7"), ("error", b"why")]
    foreign = [[], ours[:3], [("source_topic", b"elsewhere"), *ours[1:]], [*ours[:2], ("source_offset", b"x"), ours[3]]]
    producer = KafkaProducer(bootstrap_servers=empty_topics)
    for headers in (*foreign, ours):
        producer.send(DEAD_LETTER, value=b"x", headers=headers)
    producer.close()

    assert list(read_letters(empty_topics)) == [LetterPlace("transactions", 1, 7)]


def test_a_repair_too_large_for_a_record_is_not_sent_and_the_others_are(empty_topics: str):
    places = [LetterPlace("transactions", 0, offset) for offset in (3, 4)]
    letters = {place: Letter(place, b"carl", b"?", "why", 0) for place in places}
    repaired = [(places[0], event(note="x" * 1_100_000)), (places[1], event())]

    outcome = resubmit(empty_topics, letters, repaired)

    assert outcome.refused[places[0]].endswith("bytes, more than the 1,000,000 that are sent as one record")
    assert list(outcome.sent) == [places[1]]
