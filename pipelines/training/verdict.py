"""What a trained model is worth, told three ways: figures for the report, a decision at the gate, and a card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from feature_repo.settings import Settings
from pipelines.evaluate import calibration
from pipelines.model_card import write_card
from pipelines.training import tracking
from pipelines.training.candidates import Candidate
from pipelines.training.gate import Challenger, Decision, decide
from pipelines.training.leaks import find_leaks
from pipelines.training.model_files import model_bytes
from pipelines.training.parts import Part
from pipelines.training.served_parity import served_parity
from pipelines.training.tested import latency_ms, named_slices
from pipelines.training.thresholds import Costs
from pipelines.worth import worth
from plumbline import FeatureStore


def evaluation(chosen: Candidate, tested: Mapping[str, Any]) -> dict[str, Any]:
    """Money, cards, scenarios and calibration of the chosen model on its test rows (pipelines.training.tested)."""
    flagged = chosen.test_score >= min(chosen.saved.contract["thresholds"].values())
    value = worth(tested, chosen.test_score, flagged, Costs().review_cents)
    return {**value, "calibration": calibration(tested["fraud"], chosen.test_score)}


def judge(
    settings: Settings,
    store: FeatureStore,
    client: MlflowClient,
    chosen: Candidate,
    parts: Mapping[str, Part],
    tested: Mapping[str, Any],
    folder: Path,
    seed: int,
) -> Decision:
    """The gate's decision about the chosen model, held against the champion where that rests on the same definitions.

    The champion's files are downloaded into `folder`.
    """
    contract, test = chosen.saved.contract, parts["test"]
    incumbent, note = incumbent_of(client, contract, test, folder)
    used = test.features.select(list(contract["features"]))
    challenger = Challenger(
        metrics=chosen.metrics,
        fraud=test.fraud,
        score=chosen.test_score,
        definition_hash=contract["definition_hash"],
        applied_hash=store.definition_hash(contract["feature_service"]),
        leaks=tuple(map(str, find_leaks(used, test.fraud, seed))),
        latency_ms=latency_ms(chosen.saved, test.features),
        model_bytes=model_bytes(chosen.folder),
        served=served_parity(settings),
        slices=named_slices(test.features, tested),
    )
    return decide(challenger, incumbent, seed, note)


def incumbent_of(
    client: MlflowClient, contract: Mapping[str, Any], test: Part, folder: Path
) -> tuple[tuple[str, np.ndarray] | None, str | None]:
    """The champion's version and scores of the test rows, or None and why there are none."""
    version = tracking.champion_version(client, contract["model"])
    if version is None:
        return None, None
    try:
        saved = tracking.load_version(client, contract["model"], version, folder)
    except (MlflowException, OSError) as problem:
        return None, f"the files of the champion, version {version}, cannot be read and cannot be served: {problem}"
    if saved.contract["definition_hash"] != contract["definition_hash"]:
        return None, f"the champion, version {version}, was trained on other feature definitions and cannot be served"
    lost = set(saved.contract["features"]) - set(test.features.column_names)
    if lost:
        return None, f"the champion, version {version}, uses {min(lost)}, which is the label under another name"
    return (version, saved.score(test.features)), None


def card(
    settings: Settings, client: MlflowClient, name: str, report: dict[str, Any], tested: Mapping[str, Any], score: np.ndarray
) -> str:
    """Write the card under reports/cards, log it to the run as `card/`; returns the page's path."""
    folder = settings.reports_path / "cards" / f"{name}-{report['model_version']}"
    write_card(folder, name, report, tested["fraud"], score)
    client.log_artifacts(report["mlflow_run_id"], str(folder), "card")
    return str(folder / "card.html")
