"""The credit model in the registry: fitted on all applicants, judged by its out-of-fold scores, compared on the same people."""

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pyarrow as pa
from mlflow import MlflowClient

from feature_repo.settings import Settings
from pipelines.credit.crossval import MEAN, MEMBERS, fit_member
from pipelines.credit.worth import REFUSE_FROM
from pipelines.evaluate import evaluate
from pipelines.training import tracking
from pipelines.training.gate import Challenger, Decision, decide
from pipelines.training.leaks import find_leaks
from pipelines.training.model_files import SavedModel, model_bytes, read_model, write_model
from pipelines.training.notice import notify
from pipelines.training.provenance import provenance
from pipelines.training.tested import latency_ms
from plumbline import FeatureStore

MODEL = "credit_default"
SERVICE = "credit_default_v1"
SCORES = "scores.json"


def judge_and_register(
    settings: Settings,
    own: Settings,
    store: FeatureStore,
    features: pa.Table,
    bad: np.ndarray,
    score: np.ndarray,
    report: dict[str, Any],
    folder: Path,
    seed: int,
) -> dict[str, Any]:
    """Fit on all applicants, log the run, register the version, ask the gate; returns what the report says of it.

    settings are the platform's (MLflow, log of decisions), own those of the applications; score (n,) is out-of-fold.
    """
    client, experiment_id = tracking.open_client(settings)
    applied = store.definition_hash(SERVICE)
    contract = {"model": MODEL, "feature_service": SERVICE, "definition_hash": applied, "refuse_from": REFUSE_FROM}
    members = [_written(folder / name, fit_member(name, features, bad, seed, contract)) for name in MEMBERS]
    (folder / SCORES).write_text(json.dumps({"bad": bad.tolist(), "score": score.tolist()}), encoding="utf-8")
    metrics = evaluate(bad, score, seed)
    challenger = Challenger(
        metrics, bad, score, applied, applied,
        leaks=tuple(map(str, find_leaks(features, bad, seed))),
        latency_ms=sum(latency_ms(member, features) for member in members),
        model_bytes=sum(model_bytes(folder / name) for name in MEMBERS),
    )  # fmt: skip
    origin = provenance(own)
    tags = {"model": MODEL, "kind": MEAN, "feature_service": SERVICE, "definition_hash": applied, **origin}
    figures = {key: value for key, value in {**metrics, **report}.items() if isinstance(value, int | float)}
    run_id = tracking.log_run(
        client, experiment_id, MODEL, params={"seed": seed, "folds": 10}, metrics=figures, tags=tags, folder=folder
    )
    version = tracking.register(client, MODEL, run_id, tags)
    decision = _decision(client, challenger, folder / "champion", seed)
    if decision.promoted:
        tracking.set_champion(client, MODEL, version)
    tracking.record_decision(client, MODEL, version, decision.report())
    notify(settings, {"model": MODEL, "version": version, "by": "make credit", **decision.report()})
    return {"mlflow_run_id": run_id, "model_version": version, "gate": decision.report(), "provenance": origin}


def _written(folder: Path, member: SavedModel) -> SavedModel:
    """The member as it is read back from its files: what is measured is what is registered."""
    folder.mkdir()
    write_model(folder, member.model, member.contract)
    return read_model(folder)


def _decision(client: MlflowClient, challenger: Challenger, folder: Path, seed: int) -> Decision:
    """Against the champion's own out-of-fold scores where they are of the same applicants, else on its own."""
    version = tracking.champion_version(client, MODEL)
    if version is None:
        return decide(challenger, None, seed)
    source = client.get_model_version(MODEL, version).source
    folder.mkdir()
    before = Path(mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=str(folder)))
    scores = json.loads((before / SCORES).read_text(encoding="utf-8"))
    if scores["bad"] != challenger.fraud.tolist():
        return decide(challenger, None, seed, f"the champion, version {version}, was measured on other applicants")
    return decide(challenger, (version, np.array(scores["score"])), seed)
