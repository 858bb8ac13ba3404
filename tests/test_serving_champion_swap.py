"""A new champion takes its place while requests are answered; one that does not fit leaves the old one there."""

import threading
from pathlib import Path
from typing import Any

import pytest
from serving_lab import FEATURES, applied_store, await_ready, lab_settings, running, write_model

from pipelines.training import tracking
from serving.applied import Applied
from serving.binding import Models, bind
from serving.champions import Champion
from serving.metrics import Metrics
from serving.model_file import Model
from serving.recorded import Recorded
from serving.refresh import Refresh
from serving.registry_watch import signature


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, own_store: str) -> Any:
    return applied_store(lab_settings(tmp_path_factory.mktemp("swap"), own_store))


def champion(folder: Path, store: Any, version: str, **changes: Any) -> Champion:
    return Champion("transaction_fraud", version, write_model(folder / version, "transaction_fraud", store, **changes))


def served(folder: Path, store: Any) -> Models:
    return bind(store, {"transaction_fraud": champion(folder, store, "1")}, folder / "train.json")


def refresh(folder: Path, store: Any, models: Models, tracking_uri: str | None = None) -> Refresh:
    return Refresh(tracking_uri, models, store, folder, folder / "fetched", Metrics())


def test_requests_are_answered_by_the_old_champion_or_the_new_one_and_none_is_refused(
    tmp_path: Path, store: Any, own_store: str
):
    settings, models = lab_settings(tmp_path, own_store), served(tmp_path, store)
    told: list[str] = []
    newer = champion(tmp_path, store, "2")

    with running(settings, store, models) as service:
        await_ready(service.client)

        def ask() -> None:
            for _ in range(60):
                answer = service.score({"user_id": "anna", "transaction": {"amount_cents": 100}})
                told.append(answer.json()["model"]["version"] if answer.status_code == 200 else answer.text)

        asking = threading.Thread(target=ask)
        asking.start()
        refresh(tmp_path, store, models).take({"transaction_fraud": newer}, Recorded())
        asking.join()
        last = service.score({"user_id": "anna", "transaction": {"amount_cents": 100}}).json()

    assert told == sorted(told)
    assert set(told) <= {"1", "2"}
    assert last["model"]["version"] == "2"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"definition_hash": "0123456789abcdef"}, "0123456789abcdef"),
        ({"features": FEATURES["transaction_fraud"][:3]}, "4 features, its contract 3"),
        ({"calibration": {"a": 1.0, "b": float("nan")}}, "not between 0 and 1"),
    ],
)
def test_a_champion_that_does_not_fit_or_fails_its_check_leaves_the_old_one(
    tmp_path: Path, store: Any, changes: dict[str, Any], why: str
):
    models = served(tmp_path, store)
    looking = refresh(tmp_path, store, models)

    looking.take({"transaction_fraud": champion(tmp_path, store, "2", **changes)}, Recorded())

    assert version_of(models) == "1"
    assert why in looking.refused["transaction_fraud"]


def test_a_refusal_is_forgotten_with_the_next_good_champion(tmp_path: Path, store: Any):
    models = served(tmp_path, store)
    looking = refresh(tmp_path, store, models)
    looking.take({"transaction_fraud": champion(tmp_path, store, "2", definition_hash="0" * 16)}, Recorded())

    looking.take({"transaction_fraud": champion(tmp_path, store, "3")}, Recorded())

    assert version_of(models) == "3"
    assert looking.refused == {}


def test_a_champion_that_was_retired_is_served_no_more(tmp_path: Path, store: Any):
    models = served(tmp_path, store)

    refresh(tmp_path, store, models).take({"transaction_fraud": None}, Recorded())

    assert "no champion" in str(models["transaction_fraud"])


def test_an_alias_that_moves_in_mlflow_is_noticed_and_swapped(tmp_path: Path, store: Any, own_store: str):
    settings = lab_settings(tmp_path, own_store, MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path / 'mlflow.db'}")
    client, experiment = tracking.open_client(settings)
    for version in ("1", "2"):
        folder = write_model(tmp_path / f"v{version}", "transaction_fraud", store)
        run = tracking.log_run(client, experiment, version, params={}, metrics={"auc": 0.5}, tags={}, folder=folder)
        tracking.register(client, "transaction_fraud", run, {})
    tracking.set_champion(client, "transaction_fraud", "1")
    models = served(tmp_path / "served", store)
    looking = refresh(tmp_path, store, models, settings.mlflow_tracking_uri)
    before = signature(settings.mlflow_tracking_uri)

    tracking.set_champion(client, "transaction_fraud", "2")
    looking.look(Applied(store, models), Recorded())

    assert signature(settings.mlflow_tracking_uri) != before
    assert version_of(models) == "2"


def version_of(models: Models) -> str:
    model = models["transaction_fraud"]
    assert isinstance(model, Model)
    return model.version
