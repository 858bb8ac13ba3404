"""The champion: fetched from MLflow, bound to the applied definitions, scored as it was trained."""

import json
import math
import random
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa
import pytest
from serving_lab import FEATURES, applied_store, lab_settings, write_model

from pipelines.training import logistic, model_files, tracking
from pipelines.training.encoding import Encoding
from serving.binding import ContractMismatch, NothingTrained, bind, missing_reason, user_views
from serving.champions import Champion, fetch
from serving.model_file import ModelFileError, load_model
from serving.scoring import reasons

NO_REDIS = "127.0.0.1:1"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, own_store: str):
    return applied_store(lab_settings(tmp_path_factory.mktemp("models"), own_store))


def champion(folder: Path) -> dict[str, Champion | None]:
    return {"transaction_fraud": Champion("transaction_fraud", "4", folder)}


def test_the_champion_is_what_mlflow_holds_under_the_alias(tmp_path: Path, store: Any):
    settings = lab_settings(tmp_path, NO_REDIS, MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path / 'mlflow.db'}")
    client, experiment = tracking.open_client(settings)
    for version, review in (("1", 0.2), ("2", 0.4), ("3", 0.6)):
        thresholds = {"review": review, "decline": 0.9}
        folder = write_model(tmp_path / version, "transaction_fraud", store, thresholds=thresholds)
        run = tracking.log_run(client, experiment, version, params={}, metrics={}, tags={}, folder=folder)
        assert tracking.register(client, "transaction_fraud", run, {}) == version
    tracking.set_champion(client, "transaction_fraud", "2")

    champions = fetch(settings.mlflow_tracking_uri, tmp_path / "fetched")

    assert champions["account_risk"] is None
    assert champions["transaction_fraud"].version == "2"
    model = bind(store, champions, tmp_path / "train.json")["transaction_fraud"]
    assert (model.version, model.review_at) == ("2", 0.4)


def test_a_champion_of_other_definitions_is_refused_with_what_to_run(tmp_path: Path, store: Any):
    folder = write_model(tmp_path / "m", "transaction_fraud", store, definition_hash="0123456789abcdef")

    with pytest.raises(ContractMismatch, match=r"0123456789abcdef.*make train.*make apply"):
        bind(store, champion(folder), tmp_path / "train.json")


def test_a_champion_of_a_service_that_was_never_applied_is_refused(tmp_path: Path, store: Any):
    folder = write_model(tmp_path / "m", "transaction_fraud", store, feature_service="transaction_fraud_v9")

    with pytest.raises(ContractMismatch, match=r"transaction_fraud_v9; run `make apply`"):
        bind(store, champion(folder), tmp_path / "train.json")


def test_a_champion_that_needs_a_feature_its_service_lacks_is_refused(tmp_path: Path, store: Any):
    features = [*FEATURES["transaction_fraud"][:3], "user_dreams__count_7d"]
    folder = write_model(tmp_path / "m", "transaction_fraud", store, features=features)

    with pytest.raises(ContractMismatch, match="user_dreams__count_7d"):
        bind(store, champion(folder), tmp_path / "train.json")


def test_a_contract_and_a_booster_that_do_not_fit_are_refused(tmp_path: Path, store: Any):
    folder = write_model(tmp_path / "m", "transaction_fraud", store, features=FEATURES["transaction_fraud"][:3])

    with pytest.raises(ModelFileError, match=r"4 features, its contract 3"):
        load_model(folder, "1")


@pytest.mark.parametrize("damage", ["booster.txt", "contract.json"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, store: Any, damage: str):
    folder = write_model(tmp_path / "m", "transaction_fraud", store)
    (folder / damage).write_text("tree\nnot a model")

    with pytest.raises(ModelFileError, match=damage):
        load_model(folder, "1")


def test_a_model_without_champion_has_the_reason_from_the_training_report(tmp_path: Path):
    report = tmp_path / "train.json"

    with pytest.raises(NothingTrained, match="make train"):
        bind(None, {"transaction_fraud": None, "account_risk": None}, report)
    report.write_text(json.dumps({"models": {"account_risk": {"trained": False, "reason": "3 positives; 50 needed"}}}))
    assert "3 positives; 50 needed" in missing_reason("account_risk", report)
    report.write_text(json.dumps({"models": {"account_risk": {"gate": {"reason": "worse than guessing"}}}}))
    assert "worse than guessing" in missing_reason("account_risk", report)


def answers(rows: int) -> list[dict[str, Any]]:
    """Feature values with nulls, unseen and known categories, integers beyond float32."""
    chance = random.Random(11)
    return [
        {
            "transaction_context__amount_cents": chance.choice([None, 0, 1, 49_999, 50_001, 10**15]),
            "transaction_context__country": chance.choice([None, "DE", "FR", "XX"]),
            "user_payments__payment_id_count_1h": chance.randrange(5),
            "user_payments__payment_cents_mean_30d": chance.choice([None, 1_234.5, -0.5]),
        }
        for _ in range(rows)
    ]


def test_trees_score_as_the_training_code_scores_the_same_file(tmp_path: Path, store: Any):
    folder = write_model(tmp_path / "m", "transaction_fraud", store, calibration={"a": 0.7, "b": -0.2})
    asked = answers(200)

    model = load_model(folder, "1")

    expected = model_files.read_model(folder).score(pa.Table.from_pylist(asked))
    assert model.scores(model.rows(asked)) == pytest.approx(expected.tolist(), abs=1e-12)


def test_a_logistic_model_scores_as_the_training_code_scores_the_same_file(tmp_path: Path, store: Any):
    folder = write_model(tmp_path / "m", "transaction_fraud", store, kind="logistic")
    encoding = Encoding(tuple(FEATURES["transaction_fraud"]), {"transaction_context__country": ["DE", "FR"]})
    numbers = np.random.default_rng(3).uniform(0, 100_000, (500, 4))
    numbers[:, 1] = np.arange(500) % 2
    fraud = (numbers[:, 0] > 50_000).astype(float)
    logistic.save(logistic.fit(encoding, numbers[:400], fraud[:400], numbers[400:], fraud[400:], seed=3), folder)
    asked = answers(200)

    model = load_model(folder, "1")

    rows = model.rows(asked)
    expected = model_files.read_model(folder).score(pa.Table.from_pylist(asked))
    assert model.scores(rows) == pytest.approx(expected.tolist(), abs=1e-12)
    assert model.estimator.contributions(rows).shape == (200, 4)


def test_contributions_of_trees_are_those_of_exact_tree_shap(tmp_path: Path, store: Any):
    model = load_model(write_model(tmp_path / "m", "transaction_fraud", store), "1")
    rows = model.rows(answers(20))

    expected = lightgbm.Booster(model_file=str(tmp_path / "m" / "booster.txt")).predict(rows, pred_contrib=True)

    assert model.contributions(rows) == pytest.approx(expected[:, :-1])
    assert model.estimator.margins(rows) == pytest.approx(expected.sum(axis=1))


@pytest.mark.parametrize("kept", [0.001, 0.3, 0.9])
def test_a_file_of_trees_that_was_cut_is_refused_and_ends_no_process(tmp_path: Path, store: Any, kept: float):
    folder = write_model(tmp_path / "m", "transaction_fraud", store)
    whole = (folder / "booster.txt").read_text()
    (folder / "booster.txt").write_text(whole[: int(kept * whole.index("end of trees"))])

    with pytest.raises(ModelFileError, match=r"booster\.txt cannot be read .*make train"):
        load_model(folder, "1")


def test_rows_that_do_not_fit_the_trees_are_refused(tmp_path: Path, store: Any):
    model = load_model(write_model(tmp_path / "m", "transaction_fraud", store), "1")

    with pytest.raises(ValueError, match="the model has"):
        model.estimator.margins(np.zeros((2, 1)))


def test_at_most_five_reasons_are_given_largest_first(tmp_path: Path, store: Any):
    model = load_model(write_model(tmp_path / "m", "transaction_fraud", store), "1")
    (asked,) = answers(1)

    given = reasons(model, model.contributions(model.rows([asked]))[0], asked)

    sizes = [abs(reason["contribution"]) for reason in given]
    assert 1 <= len(given) <= 5
    assert sizes == sorted(sizes, reverse=True)
    assert all(reason["value"] == asked[reason["feature"]] for reason in given)


@pytest.mark.parametrize(
    ("score", "decision"),
    [(0.0, "approve"), (0.29, "approve"), (0.3, "review"), (0.69, "review"), (0.7, "decline"), (1.0, "decline")],
)
def test_the_thresholds_belong_to_the_stricter_side(tmp_path: Path, store: Any, score: float, decision: str):
    model = load_model(write_model(tmp_path / "m", "transaction_fraud", store), "1")

    assert model.decision(score) == decision


def test_a_score_stays_in_range_however_sure_the_model_is(tmp_path: Path, store: Any):
    certain = {"a": 1e6, "b": 0.0}
    model = load_model(write_model(tmp_path / "m", "transaction_fraud", store, calibration=certain), "1")

    scores = model.scores(model.rows(answers(50)))

    assert all(0 <= score <= 1 and math.isfinite(score) for score in scores)


def test_views_about_pairs_and_merchants_are_not_a_users_own(store: Any):
    views = user_views(store)

    assert "user_merchant" not in views.names
    assert "merchant_activity" not in views.names
    assert not views.know({"merchant_activity": True, "user_activity": False})
    assert views.know({"user_chargebacks": True})
