"""The gate refuses what is not better, what leaks, what rests on other definitions; every decision is told."""

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from feature_repo.settings import Settings
from pipelines.evaluate import evaluate
from pipelines.training.gate import LATENCY_BUDGET_MS, Challenger, decide
from pipelines.training.notice import decisions_log, notify
from pipelines.training.served_parity import ServedParity, served_parity

FRAUD = np.tile([1.0] + [0.0] * 19, 60)
RANDOM = np.random.default_rng(3)
NOISE = RANDOM.random(1200)


def challenger(signal: float, **changed: object) -> Challenger:
    """A model whose calibrated score tells frauds apart by `signal` (0: not at all, 1: perfectly)."""
    ranked = signal * FRAUD + (1 - signal) * NOISE
    score = ranked / ranked.sum() * FRAUD.sum()
    one = Challenger(evaluate(FRAUD, score, seed=1), FRAUD, score, "hash-a", "hash-a", latency_ms=1.0)
    return replace(one, **changed)


def refused_by(decision) -> list[str]:
    return [check.name for check in decision.checks if not check.passed]


def test_a_model_that_guesses_is_refused():
    decision = decide(challenger(0.0), None, 1)

    assert not decision.promoted
    assert refused_by(decision) == ["better than guessing"]
    assert "not better than guessing" in decision.reason


def test_the_first_model_that_beats_guessing_is_promoted():
    decision = decide(challenger(0.4), None, 1)

    assert decision.promoted
    assert "base rate 0.050" in decision.reason
    assert "there is no champion yet" in decision.reason


def test_a_model_that_equals_the_champion_is_refused():
    equal = challenger(0.4)

    decision = decide(equal, ("4", equal.score), 1)

    assert not decision.promoted
    assert decision.difference_ci == (0.0, 0.0)
    assert refused_by(decision) == ["better than the champion"]
    assert "not better than noise" in decision.reason


def test_a_model_that_is_better_by_more_than_noise_replaces_the_champion():
    decision = decide(challenger(0.6), ("4", challenger(0.3).score), 1)

    assert decision.promoted
    assert decision.incumbent_version == "4"
    assert decision.difference_ci[0] > 0


def test_a_model_that_is_worse_than_the_champion_is_refused_with_the_difference():
    decision = decide(challenger(0.3), ("4", challenger(0.6).score), 1)

    assert refused_by(decision) == ["better than the champion"]
    assert "worse by more than noise" in decision.reason


def test_a_model_that_uses_the_label_under_another_name_is_refused_and_the_column_named():
    leaky = challenger(1.0, leaks=("user_attributes__puntaje alone tells fraud from honest rows",))

    decision = decide(leaky, ("4", challenger(0.3).score), 1)

    assert refused_by(decision) == ["no leak"]
    assert "user_attributes__puntaje" in decision.reason


def test_a_model_of_other_feature_definitions_than_the_applied_ones_is_refused():
    decision = decide(challenger(0.6, applied_hash="hash-b"), None, 1)

    assert refused_by(decision) == ["feature hash"]
    assert "trained on feature definitions hash-a, applied are hash-b" in decision.reason


def test_a_model_whose_probabilities_promise_ten_times_the_frauds_is_refused():
    good = challenger(0.4)

    decision = decide(replace(good, score=np.minimum(good.score * 10, 1.0)), None, 1)

    assert refused_by(decision) == ["calibrated"]


def test_a_model_that_is_too_slow_is_refused():
    decision = decide(challenger(0.4, latency_ms=LATENCY_BUDGET_MS + 1), None, 1)

    assert refused_by(decision) == ["latency"]


def test_a_model_waits_while_a_served_value_differs_from_the_log():
    decision = decide(challenger(0.4, served=ServedParity(values=90_000, mismatches=2)), None, 1)

    assert refused_by(decision) == ["parity"]
    assert "2 of 90,000 served values differ from the log" in decision.reason


def test_where_no_served_value_was_compared_the_reason_says_so_and_the_model_may_pass():
    decision = decide(challenger(0.4), None, 1)

    assert decision.promoted
    assert "no served value was compared with the log yet" in decision.reason


def test_served_values_count_from_the_load_of_the_log_they_are_compared_with(tmp_path):
    settings = Settings.from_env({"DATA_DIR": str(tmp_path)})
    assert served_parity(settings) is None
    report, commits = settings.reports_path / "parity.json", settings.transactions_path / "_commits"
    report.parent.mkdir(parents=True)
    report.write_text(json.dumps({"values": 40, "mismatches": 1}))
    assert served_parity(settings) == ServedParity(values=40, mismatches=1)

    commits.mkdir(parents=True)
    (commits / "history.json").write_text(json.dumps({"replaced_at": "2999-01-01T00:00:00+00:00"}))

    assert served_parity(settings) is None


def test_a_model_that_is_better_on_the_whole_but_worse_in_one_slice_is_refused():
    online = np.arange(1200) < 240  # 12 of 60 frauds
    weak, strong = challenger(0.1), challenger(0.9)
    before = np.where(online, strong.score, weak.score)
    after = np.where(online, weak.score, strong.score)

    decision = decide(replace(strong, score=after, slices={"channel online": online}), ("4", before), 1)

    assert refused_by(decision) == ["slices"]
    assert "channel online" in decision.reason


def test_a_slice_with_too_few_frauds_to_tell_is_not_held_against_a_model():
    few = np.arange(1200) < 100  # 5 frauds
    better = challenger(0.9)

    decision = decide(replace(better, slices={"new users": few}), ("4", challenger(0.3).score), 1)

    assert decision.promoted
    assert decision.checks[-1].detail == "not worse in any of 0 slices"


class _Told(http.server.BaseHTTPRequestHandler):
    """Keeps what was posted to it."""

    bodies: list[dict]

    def do_POST(self) -> None:
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict]]]:
    _Told.bodies = []
    server = http.server.HTTPServer(("127.0.0.1", 0), _Told)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/champions", _Told.bodies
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_decision_is_appended_to_the_log_and_posted_to_the_webhook(webhook, tmp_path):
    address, told = webhook
    settings = Settings.from_env({"DATA_DIR": str(tmp_path), "CHAMPION_WEBHOOK": address})

    notify(settings, {"model": "transaction_fraud", "version": "3", "promoted": True})
    notify(settings, {"model": "account_risk", "version": "1", "promoted": False})

    logged = [json.loads(line) for line in decisions_log(settings).read_text().splitlines()]
    assert told == logged
    assert [(line["model"], line["promoted"]) for line in logged] == [("transaction_fraud", True), ("account_risk", False)]


def test_a_webhook_that_cannot_be_reached_is_said_and_the_decision_stands(tmp_path, capsys):
    settings = Settings.from_env({"DATA_DIR": str(tmp_path), "CHAMPION_WEBHOOK": "http://127.0.0.1:9/"})

    notify(settings, {"model": "transaction_fraud", "promoted": True})

    assert "CHAMPION_WEBHOOK was not told" in capsys.readouterr().err
    assert json.loads(decisions_log(settings).read_text())["promoted"]


def test_a_webhook_is_an_http_address_and_never_printed():
    with pytest.raises(ValueError, match="CHAMPION_WEBHOOK must begin with http"):
        Settings.from_env({"CHAMPION_WEBHOOK": "ftp://secret"})
    assert "secret" not in repr(Settings.from_env({"CHAMPION_WEBHOOK": "https://example.org/secret"}))
