"""A challenger in the shadow scores the same requests, is heard by nobody, and costs no request its answer."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from serving_lab import FEATURES, applied_store, lab_settings, write_model

from pipelines.training import tracking
from serving.applied import Applied
from serving.binding import Models, bind
from serving.champions import Champion
from serving.messages import ScoreRequest, Transaction
from serving.metrics import Metrics
from serving.recorded import Recorded
from serving.scoring import Scored, Scorer
from serving.shadow import Shadow

LARGE = ScoreRequest(user_id="anna", transaction=Transaction(amount_cents=90_000))
NAME = "transaction_fraud"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, own_store: str) -> Any:
    return applied_store(lab_settings(tmp_path_factory.mktemp("shadow"), own_store))


@pytest.fixture
def models(tmp_path: Path, store: Any) -> Models:
    return bind(store, {NAME: version(tmp_path, store, "1")}, tmp_path / "train.json")


def version(folder: Path, store: Any, number: str, **changes: Any) -> Champion:
    return Champion(NAME, number, write_model(folder / number, NAME, store, **changes))


def score(store: Any, models: Models, shadow: Shadow, metrics: Metrics) -> Scored:
    (scored,) = Scorer(store, models, Applied(store, models), metrics, shadow).score([LARGE], ["r-1"], datetime.now(UTC))
    return scored


def shadow_of(store: Any, folder: Path, metrics: Metrics, uri: str | None = None) -> Shadow:
    return Shadow(uri, tracking.CHALLENGER, store, folder / "shadow", metrics)


def test_what_a_challenger_would_have_said_is_logged_and_not_answered(tmp_path: Path, store: Any, models: Models):
    metrics = Metrics()
    alone = score(store, models, shadow_of(store, tmp_path, metrics), metrics)
    shadow = shadow_of(store, tmp_path, metrics)
    shadow.take({NAME: version(tmp_path, store, "2", calibration={"a": 1.0, "b": -9.0})}, Recorded())

    scored = score(store, models, shadow, metrics)

    logged = scored.log_record(1.0)
    assert scored.response | {"as_of": ""} == alone.response | {"as_of": ""}
    assert (scored.response["decision"], scored.response["model"]["version"]) == ("decline", "1")
    assert (logged["shadow"]["version"], logged["shadow"]["decision"]) == ("2", "approve")
    assert 0 <= logged["shadow"]["score"] < scored.response["score"]
    assert "shadow" not in alone.log_record(1.0)
    assert 'plumbline_shadow_decisions_total{model="transaction_fraud",same="no"} 1.0' in metrics.text().decode()


@pytest.mark.parametrize(
    "changes",
    [
        {"definition_hash": "0123456789abcdef"},
        {"features": FEATURES[NAME][:3]},
        {"calibration": {"a": 1.0, "b": float("nan")}},
    ],
)
def test_a_challenger_that_does_not_fit_is_left_out(tmp_path: Path, store: Any, models: Models, changes: dict[str, Any]):
    metrics = Metrics()
    shadow = shadow_of(store, tmp_path, metrics)

    shadow.take({NAME: version(tmp_path, store, "2", **changes)}, Recorded())

    assert "shadow" not in score(store, models, shadow, metrics).log_record(1.0)


def test_a_challenger_that_fails_while_scoring_costs_no_answer(tmp_path: Path, store: Any, models: Models):
    metrics = Metrics()
    shadow = shadow_of(store, tmp_path, metrics)
    shadow.take({NAME: version(tmp_path, store, "2")}, Recorded())
    (challenger,) = shadow._challengers.values()
    object.__setattr__(challenger, "features", ("gone",))

    scored = score(store, models, shadow, metrics)

    assert scored.response["decision"] == "decline"
    assert "shadow" not in scored.log_record(1.0)


def test_the_version_under_the_alias_is_fetched_and_one_that_is_taken_away_is_silent(
    tmp_path: Path, store: Any, models: Models, own_store: str
):
    settings = lab_settings(tmp_path, own_store, MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path / 'mlflow.db'}")
    client, experiment = tracking.open_client(settings)
    for number in ("1", "2"):
        folder = write_model(tmp_path / f"v{number}", NAME, store)
        run = tracking.log_run(client, experiment, number, params={}, metrics={"auc": 0.5}, tags={}, folder=folder)
        tracking.register(client, NAME, run, {})
    tracking.set_champion(client, NAME, "1")
    tracking.set_challenger(client, NAME, "2")
    metrics = Metrics()
    shadow = shadow_of(store, tmp_path, metrics, settings.mlflow_tracking_uri)

    shadow.look(settings.mlflow_tracking_uri, Recorded())
    beside = score(store, models, shadow, metrics).log_record(1.0)["shadow"]["version"]
    client.delete_registered_model_alias(NAME, tracking.CHALLENGER)
    shadow.look(settings.mlflow_tracking_uri, Recorded())

    assert beside == "2"
    assert "shadow" not in score(store, models, shadow, metrics).log_record(1.0)
