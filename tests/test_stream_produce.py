"""Live traffic: events that existing users could make, bursts of fraud among them, and one label for each payment."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from stream_lab import records_of, settings_for, transaction

from feature_repo.settings import PROJECT_ROOT
from stack.environment import for_processes
from streaming.archive_files import write
from streaming.door import Record, admit
from streaming.event_topics import LABELS, TRANSACTIONS
from streaming.live_profile import SCENARIOS, NobodyKnown, load_profile
from streaming.live_traffic import FRAUD_SHARE, Traffic

NO_STORE = "127.0.0.1:1"
NOON_S = 1_772_366_400.0
PROFILE = {
    "event_mix": {"payment": 0.7, "withdrawal": 0.1, "view": 0.2},
    "channels": {"online": 1.0},
    "categories": {
        "": {"log_cents_mean": 7.0, "log_cents_std": 1.0},
        "grocery": {"log_cents_mean": 8.0, "log_cents_std": 0.0},
    },
    "merchants": {
        "grocer": {"category": "grocery", "country": "NO", "channel": "card_present", "weight": 0.9},
        "kiosk": {"category": None, "country": None, "channel": None, "weight": 0.1},
    },
    "users": [
        {
            "user_id": "ada",
            "weight": 9,
            "country": "NO",
            "devices": ["d-ada"],
            "merchants": ["grocer"],
            "amount_factor": 2,
        },
        {
            "user_id": "bob",
            "weight": 1,
            "country": "SE",
            "devices": ["d-bob"],
            "merchants": ["kiosk"],
            "amount_factor": 1,
        },
    ],
    "scenarios": SCENARIOS,
}


def drawn(count: int = 5_000, seconds: float = 100.0) -> tuple[list[dict], list[dict], Traffic]:
    """Events spread evenly over the seconds, and all their labels."""
    traffic = Traffic(PROFILE, seconds, label_delay_s=3.0, seed=11)
    events = [traffic.event(NOON_S + seconds * number / count) for number in range(count)]
    return events, list(traffic.labels(math.inf)), traffic


def test_events_are_what_users_of_the_profile_do():
    events, _, _ = drawn()
    own = [event for event in events if not event["device_id"].startswith("x-")]

    assert {event["user_id"] for event in own} == {"ada", "bob"}
    assert {(event["user_id"], event["device_id"]) for event in own} == {("ada", "d-ada"), ("bob", "d-bob")}
    assert {event["event_type"] for event in own} == {"payment", "withdrawal", "view"}
    assert all((event["amount_cents"] is None) == (event["event_type"] == "view") for event in own)
    at_the_grocer = {e["amount_cents"] for e in own if (e["user_id"], e["merchant_id"]) == ("ada", "grocer")} - {None}
    assert at_the_grocer == {round(2 * math.exp(8))}


def test_the_door_takes_every_event_and_every_label():
    events, labels, _ = drawn(500)
    for topic, sent in ((TRANSACTIONS, events), (LABELS, labels)):
        appended_ms = int(NOON_S * 1000) + 100_000
        records = [Record(0, offset, appended_ms, None, json.dumps(row).encode()) for offset, row in enumerate(sent)]

        rows, refused = admit(topic, records, 86_400_000_000)

        assert not refused
        assert rows["event_id"].to_pylist() == [row["event_id"] for row in sent]


def test_every_payment_and_withdrawal_has_one_label_and_a_burst_is_fraud():
    events, labels, traffic = drawn()
    labelled = {event["event_id"]: event for event in events if event["event_type"] in ("payment", "withdrawal")}

    assert sorted(label["event_id"] for label in labels) == sorted(labelled)
    for label in labels:
        event = labelled[label["event_id"]]
        is_burst = event["device_id"].startswith("x-")
        assert label["is_fraud"] == int(is_burst)
        assert label["fraud_amount_cents"] == (event["amount_cents"] if is_burst else None)
        assert label["event_timestamp"] == event["event_timestamp"]
    frauds = sum(label["is_fraud"] for label in labels)
    assert FRAUD_SHARE / 2 < frauds / len(events) < FRAUD_SHARE * 2
    assert set(traffic.bursts) == {"card_testing", "account_takeover"}


def test_a_label_waits_for_its_delay():
    traffic = Traffic(PROFILE, 100.0, label_delay_s=3.0, seed=11)
    event = next(e for e in (traffic.event(NOON_S) for _ in range(10)) if e["event_type"] == "payment")

    assert list(traffic.labels(NOON_S + 2.9)) == []
    assert event["event_id"] in {label["event_id"] for label in traffic.labels(NOON_S + 3.0)}


def test_without_a_live_profile_the_users_are_the_logs(tmp_path: Path):
    settings = settings_for("127.0.0.1:1", NO_STORE, tmp_path)
    hold = {"merchant_id": "grocer", "device_id": "d-1", "country": "NO", "event_type": "hold"}
    sent = [transaction("ada", **hold) for _ in range(3)]
    records = [Record(0, offset, 4_000_000_000_000, None, json.dumps(row).encode()) for offset, row in enumerate(sent)]
    rows, _ = admit(TRANSACTIONS, records, 86_400_000_000)
    write(rows, settings.transactions_path / "event_date=2026-03-01" / "archive-p0-o0-0.parquet")

    event = Traffic(load_profile(settings), 10.0, label_delay_s=1.0, seed=1).event(NOON_S)

    kept = ("user_id", "merchant_id", "device_id", "country", "event_type", "amount_cents")
    assert [event[name] for name in kept] == ["ada", "grocer", "d-1", "NO", "hold", 100]


def test_without_any_user_it_says_what_to_run(tmp_path: Path):
    with pytest.raises(NobodyKnown, match="make data"):
        load_profile(settings_for("127.0.0.1:1", NO_STORE, tmp_path))


def test_what_is_said_to_be_sent_is_in_the_topics(empty_topics: str, tmp_path: Path):
    settings = settings_for(empty_topics, NO_STORE, tmp_path)
    (tmp_path / "simulator").mkdir()
    (tmp_path / "simulator" / "live.json").write_text(json.dumps(PROFILE))
    command = [sys.executable, "-m", "streaming.produce", "--rate", "150", "--seconds", "2", "--seed", "5"]
    environment = {**for_processes(settings), "KAFKA_BOOTSTRAP_SERVERS": empty_topics}

    done = subprocess.run(command, env=environment, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    records, labels = records_of(empty_topics, "transactions"), records_of(empty_topics, "labels")
    assert len(records) == 300
    assert f"Sent 300 transactions and {len(labels)} labels" in done.stdout
    assert all(record.key.decode() == json.loads(record.value)["user_id"] for record in records)
