"""Bad records in the middle of good traffic: each ends among the dead letters, for fold and archive alike."""

import itertools
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pyarrow.dataset as pads
import pytest
from stream_lab import (
    apply_definitions,
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

from feature_repo import open_store
from feature_repo.settings import Settings
from stack import ports, services, topics
from streaming import manifests

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


def letters_of(settings: Settings, topic: str) -> dict[Place, tuple[bytes | None, bytes | None, str]]:
    """Place in the topic -> key, value and reason of its dead letter."""
    found = {}
    for letter in records_of(settings.kafka_bootstrap_servers, "transactions.dead-letter"):
        headers = {name: value.decode("utf-8") for name, value in letter.headers}
        if headers["source_topic"] == topic:
            place = int(headers["source_partition"]), int(headers["source_offset"])
            assert place not in found
            found[place] = (letter.key, letter.value, headers["error"])
    return found


def logged(log: Path) -> dict[Place, dict]:
    """Place in the topic -> row of the log."""
    rows = pads.dataset(log, partitioning="hive").to_table().to_pylist()
    assert len({(row["source_partition"], row["source_offset"]) for row in rows}) == len(rows)
    return {(row["source_partition"], row["source_offset"]): row for row in rows}


@pytest.fixture(scope="module")
def sent(broker: str, redis_server: str, tmp_path_factory: pytest.TempPathFactory):
    """Both topics with good, late and bad records in turn, read to their ends by a fold and an archive that run."""
    topics.recreate(broker)
    settings = settings_for(broker, redis_server, tmp_path_factory.mktemp("bad"))
    store_client(settings).flushdb()
    apply_definitions(settings)
    store = open_store(settings)
    label, now = partial(event, is_fraud=1, fraud_amount_cents=1), datetime.now(UTC)
    bad = {"transactions": bad_transactions(event, now), "labels": bad_labels(label, now)}
    good = {"transactions": good_records(event, 60), "labels": good_records(label, 60)}
    good["transactions"][30] = (USER, event(event_timestamp=TWO_DAYS_AGO))
    places: dict[str, dict[Place, tuple[str, bytes | None]]] = {}
    with running(services.fold(settings), settings), running(services.archive(settings), settings):
        for topic in bad:
            records = mixed(good[topic], [value for value, _ in bad[topic].values()])
            places[topic] = dict(zip(send(broker, topic, records), records, strict=True))
        for topic, view in {"transactions": "user_activity", "labels": "merchant_chargebacks"}.items():
            ends = last_offsets(broker, topic)
            until(partial(lambda view, ends: store.positions(view) == ends, view, ends))
            until(partial(lambda log, ends: manifests.committed(log) == ends, settings.events_dir / topic, ends))
        _, metrics = ports.http_get(f"http://127.0.0.1:{settings.fold_metrics_port}/metrics")
    return settings, store, bad, places, metrics


def is_bad(bad: Mapping[str, tuple[bytes | None, str]], value: bytes | None) -> bool:
    return any(value == other for other, _ in bad.values())


@pytest.mark.parametrize("topic", ["transactions", "labels"])
def test_every_bad_record_is_a_dead_letter_with_its_bytes_and_a_reason(sent, topic: str):
    settings, _, bad, places, _ = sent

    letters = letters_of(settings, topic)

    assert len(bad[topic]) >= 45
    words = dict(bad[topic].values())
    refused = {place: record for place, record in places[topic].items() if is_bad(bad[topic], record[1])}
    assert len(refused) == len(bad[topic])
    for place, (key, value) in refused.items():
        assert letters[place][:2] == (key.encode(), value)
        assert words[value] in letters[place][2]


@pytest.mark.parametrize("topic", ["transactions", "labels"])
def test_the_log_holds_exactly_the_records_that_the_fold_did_not_refuse(sent, topic: str):
    settings, _, _, places, _ = sent

    rows, letters = logged(settings.events_dir / topic), letters_of(settings, topic)

    late = {place for place, row in rows.items() if row["too_late"]}
    assert rows.keys() | letters.keys() == places[topic].keys()
    assert rows.keys() & letters.keys() == late
    assert [row["event_timestamp"].isoformat() for row in rows.values() if row["too_late"]] == (
        [TWO_DAYS_AGO] if topic == "transactions" else []
    )


def test_nothing_good_is_lost_between_bad_records(sent):
    _, store, _, places, metrics = sent
    counts = {"user_id": USER, "merchant_id": MERCHANT}

    features = [
        "user_activity:event_id_count_1d",
        "user_payments:payment_cents_sum_1d",
        "merchant_chargebacks:fraud_id_count_1d",
    ]
    (answer,) = store.read_online(features, [counts])

    assert list(answer.features.values()) == [59, 59 * 1250, 60]
    assert 'plumbline_fold_dead_letters_total{topic="transactions",why="too_late"} 1.0' in metrics
    refused = sum(len(of_topic) for of_topic in places.values()) - 120
    assert refused == sum(
        float(line.rsplit(" ", 1)[1])
        for line in metrics.splitlines()
        if line.startswith("plumbline_fold_dead_letters_total") and 'why="refused"' in line
    )
