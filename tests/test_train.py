"""`make train` end to end on a small log: what it reports, what it registers, and what it must not see."""

import hashlib
import json
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlparse

import lightgbm
import mlflow
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from applied_repo import apply_definitions
from mlflow import MlflowClient
from scipy.special import expit
from train_world import END, LABEL_DELAY, START, write_world

from feature_repo import open_store
from feature_repo.settings import PROJECT_ROOT, Settings
from pipelines.promote import PromotionRefusedError, promote
from pipelines.rollback import champion_before
from pipelines.train import train
from pipelines.training import tracking
from pipelines.training.encoding import Encoding
from pipelines.training.labels import read_known_log
from pipelines.training.model_files import read_model
from pipelines.training.notice import decisions_log
from pipelines.training.provenance import LOCK, git_commit
from pipelines.training.verdict import incumbent_of
from serving.model_file import load_model

END_US = int(END.timestamp()) * 1_000_000
REPORT_KEYS = {
    "rows", "positives", "split", "average_precision", "average_precision_ci", "base_rate", "brier",
    "recall_at_fpr_0.005", "comparison", "feature_service", "features", "mlflow_run_id", "model_version", "gate",
}  # fmt: skip


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, own_store: str) -> Settings:
    """A log of its own, applied by Feast's command line, and an MLflow of SQLite and files."""
    data_dir = tmp_path_factory.mktemp("train")
    settings = Settings.from_env(
        {
            "DATA_DIR": str(data_dir),
            "REDIS_CONNECTION_STRING": own_store,
            "MLFLOW_TRACKING_URI": f"sqlite:///{data_dir}/mlflow.db",
        }
    )
    write_world(settings)
    apply_definitions(settings)
    return settings


@pytest.fixture(scope="module")
def trained(settings: Settings) -> dict:
    return train(open_store(settings), settings, now_us=END_US)


@pytest.fixture(scope="module")
def report(settings: Settings, trained: dict) -> dict:
    return json.loads((settings.reports_path / "train.json").read_text())


def downloaded(settings: Settings, artifact_uri: str, folder: Path) -> Path:
    uri = settings.mlflow_tracking_uri
    return Path(mlflow.artifacts.download_artifacts(artifact_uri, dst_path=str(folder), tracking_uri=uri))


def test_both_models_are_trained_and_reported_with_every_promised_key(report):
    assert set(report["models"]) == {"transaction_fraud", "account_risk"}
    for model in report["models"].values():
        assert set(model) >= REPORT_KEYS
    assert {key: report[key] for key in REPORT_KEYS} == {key: report["models"]["transaction_fraud"][key] for key in REPORT_KEYS}
    assert (report["gap_s"], report["label_delay_s"], report["account_horizon_s"]) == (172_800, 172_800, 86_400)


def test_bursts_are_found_far_above_the_base_rate_and_told_beside_it(report):
    fraud = report["models"]["transaction_fraud"]

    assert fraud["average_precision_ci"][0] > 3 * fraud["base_rate"]
    assert fraud["comparison"]["base_rate"]["average_precision"] == fraud["base_rate"]
    assert fraud["gate"]["promoted"]
    assert set(fraud["comparison"]) == {"base_rate", "lightgbm", "logistic", "random_forest", "balanced_forest", "xgboost"}


def test_the_chosen_model_is_tested_in_folds_that_go_on_in_time(report):
    prequential = report["models"]["transaction_fraud"]["prequential"]

    starts = [datetime.fromisoformat(fold["test_start"]) for fold in prequential["folds"]]
    assert len(starts) >= 2
    assert starts == sorted(starts)
    for fold in prequential["folds"]:
        assert datetime.fromisoformat(fold["test_start"]) - datetime.fromisoformat(fold["train_end"]) == LABEL_DELAY
        assert fold["average_precision"] > fold["base_rate"]


def test_an_account_without_signal_is_not_promoted_or_beats_its_base_rate(report):
    risk = report["models"]["account_risk"]

    assert risk["gate"]["promoted"] == (risk["average_precision_ci"][0] > risk["base_rate"])
    assert not any(name.startswith(("transaction_context", "merchant", "device")) for name in risk["features"])


def test_the_gap_between_train_and_test_is_the_label_delay(report):
    for model in report["models"].values():
        split = {name: datetime.fromisoformat(text) for name, text in model["split"].items()}

        assert split["gap_end"] - split["train_end"] == LABEL_DELAY
        assert START <= split["start"] < split["train_end"]
        assert END - LABEL_DELAY - timedelta(hours=1) < split["test_end"] <= END - LABEL_DELAY


def test_the_same_seed_and_data_give_the_same_metrics_and_the_gate_compares_with_the_champion(settings, trained):
    again = train(open_store(settings), settings, now_us=END_US)

    for name, model in trained.items():
        repeated = dict(again[name])
        for key in ("mlflow_run_id", "model_version", "gate", "reason", "card"):
            assert repeated.pop(key) is not None
        assert _without_runs(repeated) == _without_runs({key: model[key] for key in repeated})
    fraud = again["transaction_fraud"]
    assert fraud["gate"]["incumbent_version"] == trained["transaction_fraud"]["model_version"]
    assert fraud["gate"]["average_precision_difference_ci"] == [0.0, 0.0]
    assert not fraud["gate"]["promoted"]
    assert "not better than noise" in fraud["reason"]


def test_the_champions_contract_says_what_serving_needs(settings, trained, tmp_path):
    version = MlflowClient(settings.mlflow_tracking_uri).get_model_version_by_alias("transaction_fraud", "champion")

    contract = read_model(downloaded(settings, version.source, tmp_path)).contract

    assert contract["model"] == "transaction_fraud"
    assert contract["feature_service"] == "transaction_fraud_v1"
    assert contract["features"] == trained["transaction_fraud"]["features"]
    assert contract["definition_hash"] == open_store(settings).definition_hash("transaction_fraud_v1")
    assert 0 < contract["thresholds"]["review"] <= contract["thresholds"]["decline"]


def test_the_files_alone_reproduce_the_boosters_scores(settings, trained, tmp_path):
    run = trained["transaction_fraud"]["comparison"]["lightgbm"]["mlflow_run_id"]
    folder = downloaded(settings, f"runs:/{run}/model", tmp_path)
    saved = read_model(folder)
    contract = saved.contract
    booster = lightgbm.Booster(model_file=str(folder / "booster.txt"))
    matrix = np.random.default_rng(4).integers(0, 3, (20, len(contract["features"]))).astype(float)
    rows = _as_features(Encoding(tuple(contract["features"]), contract["categories"]), matrix)

    scores = saved.score(rows)

    margin = booster.predict(matrix, raw_score=True)
    assert scores == pytest.approx(expit(contract["calibration"]["a"] * margin + contract["calibration"]["b"]))


@pytest.mark.parametrize("kind", ["lightgbm", "logistic"])
def test_serving_scores_a_row_as_training_measured_it(kind, settings, trained, tmp_path):
    run = trained["transaction_fraud"]["comparison"][kind]["mlflow_run_id"]
    folder = downloaded(settings, f"runs:/{run}/model", tmp_path)
    saved, served = read_model(folder), load_model(folder, "1")
    rows = _as_features(saved.encoding, np.random.default_rng(4).integers(0, 3, (20, len(served.features))).astype(float))
    rows = pa.table([pc.if_else(_every_third(rows), None, column) for column in rows.columns], names=rows.column_names)

    scores = served.scores(served.rows(rows.to_pylist()))

    assert scores == pytest.approx(saved.score(rows).tolist(), rel=1e-12)


def test_the_run_in_mlflow_holds_the_metrics_of_the_report(settings, trained):
    model = trained["account_risk"]

    run = MlflowClient(settings.mlflow_tracking_uri).get_run(model["mlflow_run_id"])

    assert run.data.metrics["average_precision"] == pytest.approx(model["average_precision"])
    assert run.data.params["gap_s"] == "172800.0"
    assert run.data.tags["definition_hash"] == model["definition_hash"]


def test_a_run_says_where_its_model_comes_from(settings, trained):
    client, model = MlflowClient(settings.mlflow_tracking_uri), trained["transaction_fraud"]

    tags = client.get_run(model["mlflow_run_id"]).data.tags

    assert tags["feature_service"] == "transaction_fraud_v1"
    assert tags["data_window"] == f"{model['split']['start']} to {model['split']['test_end']}"
    assert (tags["data_source"], tags["data_generation"]) == ("a test", "1")
    assert tags["git_commit"].removesuffix("-changed") == git_commit(PROJECT_ROOT).removesuffix("-changed")
    assert tags["lock_hash"] == hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]


def test_the_decision_and_its_reasons_are_kept_with_the_version_and_told(settings, trained):
    client, model = MlflowClient(settings.mlflow_tracking_uri), trained["transaction_fraud"]

    tags = client.get_model_version("transaction_fraud", model["model_version"]).tags
    told = [json.loads(line) for line in decisions_log(settings).read_text().splitlines()]

    assert tags["gate"] == model["reason"]
    checks = {check["name"]: check["passed"] for check in json.loads(tags["gate_checks"])}
    assert checks == dict.fromkeys(("feature hash", "no leak", "better than guessing", "calibrated", "latency", "parity"), True)
    assert (told[0]["model"], told[0]["version"], told[0]["promoted"]) == ("transaction_fraud", model["model_version"], True)


def test_the_report_says_what_the_score_is_worth(report):
    found = report["evaluation"]

    assert found["money"]["saved_cents"] <= found["money"]["oracle_cents"]
    assert [cards["cards"] for cards in found["card_precision"]] == [25, 50]  # 120 users: never 100 others on one day
    assert all(cards["precision"] <= cards["perfect"] for cards in found["card_precision"])
    assert found["calibration"]["known_frauds"] == report["positives"] - sum(
        report["parts"][name]["positives"] for name in ("fit", "validation")
    )


def test_the_card_is_a_page_of_its_own_and_logged_to_the_run(settings, trained, tmp_path):
    model = trained["transaction_fraud"]
    page = Path(model["card"]).read_text()

    logged = downloaded(settings, f"runs:/{model['mlflow_run_id']}/card", tmp_path)

    assert {path.name for path in logged.iterdir()} == {"card.md", "card.html", "precision_recall.png", "calibration.png"}
    assert f"{model['average_precision']:.3f}" in page
    assert "http" not in page.replace("https://", "")  # nothing is fetched from anywhere
    for line in ("# transaction_fraud version", "## Money", "## The gate", "| base rate"):
        assert line in (logged / "card.md").read_text()


def test_labels_and_the_test_window_end_at_what_is_known_at_the_time_of_training(settings):
    earlier_us = END_US - 6 * 86_400_000_000

    log = read_known_log(open_store(settings), settings, earlier_us)

    assert log.known_until_us == earlier_us
    assert 0 < log.labels["created_us"].max() <= earlier_us
    assert len(log.labels) < len(read_known_log(open_store(settings), settings, END_US).labels)


def test_a_rollback_goes_back_to_the_champion_before(settings, trained):
    client, store = MlflowClient(settings.mlflow_tracking_uri), open_store(settings)
    before = tracking.champion_version(client, "transaction_fraud")
    newer = tracking.register(client, "transaction_fraud", trained["transaction_fraud"]["mlflow_run_id"], {})
    promote(client, store, "transaction_fraud", newer, dry_run=True)
    assert tracking.champion_version(client, "transaction_fraud") == before

    promote(client, store, "transaction_fraud", newer)
    promoted = tracking.champion_version(client, "transaction_fraud")
    promote(client, store, "transaction_fraud", champion_before(client, "transaction_fraud"))

    assert promoted == newer
    assert tracking.champion_version(client, "transaction_fraud") == before


def test_a_champion_whose_files_are_gone_is_told_and_the_new_model_judged_without_it(settings, trained, tmp_path):
    client = MlflowClient(settings.mlflow_tracking_uri)
    version = tracking.champion_version(client, "transaction_fraud")
    files = Path(urlparse(client.get_model_version("transaction_fraud", version).source).path)
    elsewhere = files.rename(tmp_path / "elsewhere")

    try:
        held_against, note = incumbent_of(client, {"model": "transaction_fraud"}, None, tmp_path)
    finally:
        elsewhere.rename(files)

    assert held_against is None
    assert note.startswith(f"the files of the champion, version {version}, cannot be read")


def test_a_model_of_other_feature_definitions_cannot_become_champion(settings, trained):
    client = MlflowClient(settings.mlflow_tracking_uri)
    changed = SimpleNamespace(definition_hash=lambda service: "0000000000000000")

    with pytest.raises(PromotionRefusedError, match="0000000000000000 are applied"):
        promote(client, changed, "transaction_fraud", trained["transaction_fraud"]["model_version"])


def test_a_log_without_labels_trains_nothing_and_says_why(settings, trained, tmp_path):
    labels = settings.labels_path / "history-0.parquet"
    kept = labels.read_bytes()
    try:
        pq.write_table(pq.read_table(labels).slice(0, 0), labels)

        models = train(open_store(settings), settings, now_us=END_US)
    finally:
        labels.write_bytes(kept)

    assert {model["trained"] for model in models.values()} == {False}
    assert "holds no label" in models["transaction_fraud"]["reason"]
    assert tracking.champion_version(MlflowClient(settings.mlflow_tracking_uri), "transaction_fraud") is not None


def test_a_champion_of_other_definitions_is_retired_where_the_log_cannot_train_its_successor(settings, trained):
    client, store = MlflowClient(settings.mlflow_tracking_uri), open_store(settings)
    version = trained["transaction_fraud"]["model_version"]
    tracking.set_champion(client, "transaction_fraud", version)
    client.set_model_version_tag("transaction_fraud", version, "definition_hash", "0000000000000000")
    an_hour_after_the_first_event = END_US - 59 * 86_400_000_000

    models = train(store, settings, now_us=an_hour_after_the_first_event)

    assert not models["transaction_fraud"]["trained"]
    assert (
        f"version {version}, was trained on other feature definitions and was retired" in models["transaction_fraud"]["reason"]
    )
    assert tracking.champion_version(client, "transaction_fraud") is None
    assert "retired" in client.get_model_version("transaction_fraud", version).tags


def _every_third(rows: pa.Table) -> pa.Array:
    return pa.array([i % 3 == 0 for i in range(rows.num_rows)])


def _without_runs(model: dict) -> dict:
    """A model's report without the ids that MLflow gives to each run."""
    kinds = {k: {n: v for n, v in metrics.items() if n != "mlflow_run_id"} for k, metrics in model["comparison"].items()}
    return {**model, "comparison": kinds}


def _as_features(encoding: Encoding, matrix: np.ndarray) -> pa.Table:
    """Feature values that encode to the matrix: text for categories, numbers elsewhere."""
    columns = {}
    for i, name in enumerate(encoding.features):
        values = encoding.categories.get(name)
        if values is None:
            columns[name] = matrix[:, i]
        else:
            matrix[:, i] = np.minimum(matrix[:, i], len(values) - 1)
            columns[name] = [values[int(code)] for code in matrix[:, i]]
    return pa.table(columns)
