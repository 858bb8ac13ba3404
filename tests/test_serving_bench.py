"""The load is an open loop, its percentiles are exact, and answers under load are held against the definition."""

import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from serving.bench import same, trouble
from serving.bench.definition import Definition
from serving.bench.figures import line, sustained
from serving.bench.world import World

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def test_percentiles_are_of_the_accepted_and_a_pause_of_the_server_is_seen_by_all_who_waited_for_it():
    result = {"latency": [0.001] * 98 + [2.0, 0.5], "status": [200] * 99 + [503]}

    measured = line("plumbline", "account", 100, result, cpu_s=0.05, rss_mb=300)

    assert (measured["p50_ms"], measured["max_ms"], measured["refused_p99_ms"]) == (1.0, 2_000.0, 500.0)
    assert measured["status"] == {"200": 99, "503": 1}
    assert measured["cpu_ms"] == 0.5


@pytest.mark.parametrize(("p99", "refused", "expected"), [(9.0, 0, 200), (11.0, 0, 100), (9.0, 30, 100)])
def test_a_rate_is_sustained_within_10_ms_at_the_99th_percentile_and_with_at_most_1_percent_refused(p99, refused, expected):
    good = {"server": "s", "what": "w", "rate": 100, "p99_ms": 5.0, "sent": 1_000, "status": {"200": 1_000}}
    next_one = {**good, "rate": 200, "p99_ms": p99, "status": {"200": 1_000 - refused}}

    assert sustained([good, next_one], "s", "w") == expected


def test_the_definition_finds_a_wrong_value_and_no_other():
    at = NOW - timedelta(minutes=30)
    payment = {"event_id": "e0", "user_id": "u1", "event_timestamp": at, "created_timestamp": at, "source_partition": 0,
               "source_offset": 0, "event_type": "payment", "amount_cents": 700}  # fmt: skip
    answer = {
        "user_id": "u1",
        "as_of": NOW.isoformat(),
        "positions": {"user_payments": {"0": 0}},
        "features": {
            "user_payments__payment_id_count_1h": 1,
            "user_payments__payment_id_count_10m": 0,
            "user_payments__payment_cents_sum_1d": 701,
            "user_payments__payment_cents_std_30d": None,
        },
    }

    wrong = Definition([payment, {**payment, "event_id": "e1", "source_offset": 1}]).wrong(answer)

    assert wrong == ["u1 user_payments__payment_cents_sum_1d: 701 is not 700"]


def test_the_world_is_the_same_whenever_it_is_made():
    first, second = (World(users=20, seed=7, began=NOW).history() for _ in range(2))

    assert first == second
    assert [event["source_offset"] for event in first] == list(range(len(first)))
    assert all(earlier["event_timestamp"] <= later["event_timestamp"] for earlier, later in itertools.pairwise(first))


def answer(**changes: Any) -> str:
    """A body as the service gives it, of a user without events."""
    of = {"user_id": "u1", "as_of": NOW.isoformat(), "positions": {"user_payments": {}}, "model": {"version": "1"}}
    return json.dumps(of | {"features": {"user_payments__payment_id_count_1h": 0}} | changes)


def under_trouble(statuses: list[int], after: list[int], *bodies: str) -> dict[str, Any]:
    result = {"latency": [0.001] * len(statuses), "status": statuses, "kept": list(enumerate(bodies))}
    return trouble.line("store", 10.0, result, {"status": after, "kept": []}, Definition([]))


def test_a_trouble_is_survived_when_all_is_answered_or_honestly_refused_and_then_answered_again():
    survived = under_trouble([200, 503, 503, 200], [200, 200], answer(), answer(model={"version": "2"}))

    assert survived["survived"]
    assert (survived["refused_for_s"], survived["versions"], survived["checked"]) == (0.2, ["1", "2"], 2)


@pytest.mark.parametrize(
    ("statuses", "after", "body"),
    [
        ([200, 500], [200], answer()),
        ([200, 0], [200], answer()),
        ([200, 503], [200, 503], answer()),
        ([503, 503], [200], "{}"),
        ([200, 200], [200], answer(features={"user_payments__payment_id_count_1h": 1})),
    ],
)
def test_a_trouble_is_not_survived_with_another_error_no_answer_no_recovery_or_a_wrong_value(statuses, after, body):
    assert not under_trouble(statuses, after, body)["survived"]


@pytest.mark.parametrize(
    ("given", "expected", "equal"),
    [(1, 1, True), (1, 2, False), (None, None, True), (None, 0, False), (0, None, False), ("a", "a", True),
     (0.1 + 0.2, 0.3, True), (0.3001, 0.3, False)],
)  # fmt: skip
def test_values_are_the_same_by_the_rules(given, expected, equal):
    assert same.same(given, expected) is equal


@pytest.mark.long
def test_the_service_the_store_and_the_definition_give_random_users_the_same_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DATA_DIR", str(tmp_path))

    assert same.run(users=60) == 0

    line = json.loads((tmp_path / "reports" / "bench-serve-same.jsonl").read_text())
    assert line["values"] >= 60 * 40
    assert (line["different_online"], line["different_definition"]) == (0, 0)
