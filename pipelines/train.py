"""`make train`: from labels to champions. Both models go through the same code; one that cannot be trained says why."""

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from feast.errors import FeatureServiceNotFoundException
from mlflow import MlflowClient

from feature_repo import open_store
from feature_repo.settings import Settings
from pipelines.training import tracking
from pipelines.training.candidates import Candidate, check_parts, choose, compare_rivals, fit_candidates
from pipelines.training.folds import prequential
from pipelines.training.label_notes import label_notes
from pipelines.training.labels import KnownLog, TrainingRefusedError, read_known_log
from pipelines.training.leaks import without_leaks
from pipelines.training.notice import notify
from pipelines.training.odd_columns import odd_columns
from pipelines.training.parts import Asked, ask
from pipelines.training.periods import Periods, read_periods
from pipelines.training.progress import Progress
from pipelines.training.provenance import provenance
from pipelines.training.report import guessing, instant, periods_report, split_report, summary, write_report
from pipelines.training.rivals import FULL, QUICK
from pipelines.training.rows import Examples, account_examples, transaction_examples
from pipelines.training.split import Split, split_by_time
from pipelines.training.tested import tested_rows, unseen_notes
from pipelines.training.unreported import on_unreported_users
from pipelines.training.verdict import card, evaluation, judge
from plumbline import FeatureStore
from plumbline.durations import SECOND

SEED = 7


@dataclass(frozen=True)
class Task:
    """One model: its registered name, its feature service, and how its examples are made."""

    name: str
    service: str
    examples: Callable[[KnownLog, Periods, Split, int], Examples]


TASKS = (
    Task("transaction_fraud", "transaction_fraud_v1", lambda log, *_: transaction_examples(log)),
    Task(
        "account_risk",
        "account_risk_v1",
        lambda log, periods, split, seed: account_examples(log, periods.horizon_us, split.gap_end, seed),
    ),
)


@dataclass(frozen=True)
class Session:
    """What both models share."""

    store: FeatureStore
    client: MlflowClient
    experiment_id: str
    log: KnownLog
    labelled_us: np.ndarray
    periods: Periods
    seed: int
    progress: Progress
    settings: Settings
    provenance: dict[str, str]
    full: bool


def train(
    store: FeatureStore, settings: Settings, *, seed: int = SEED, now_us: int | None = None, full: bool = False
) -> dict[str, Any]:
    """Train every model and write reports/train.json; returns {model name: its part of the report}.

    now_us  labels created after it are not known (default: the clock); the log's own last load or append may be earlier
    full    compare every method and search the best one's parameters, which takes several times as long

    A model that could not be trained has trained = false; each has a reason, the gate's where it was trained.
    Raises TrackingUnavailableError without MLflow.
    """
    progress = Progress()
    report_path = settings.reports_path / "train.json"
    progress.say(f"asking MLflow at {settings.mlflow_tracking_uri} (it takes half a minute to start)")
    tracking.wait_for_mlflow(settings)
    client, experiment_id = tracking.open_client(settings)
    try:
        log = read_known_log(store, settings, time.time_ns() // 1000 if now_us is None else now_us)
        session = _session(store, client, experiment_id, log, settings, seed, progress, full)
    except TrainingRefusedError as refused:
        models = {task.name: _untrained(task, store, client, refused) for task in TASKS}
        write_report(report_path, models, {"seed": seed})
        return models
    models = {task.name: _train_or_reason(task, session) for task in TASKS}
    known_until = instant(session.log.known_until_us)
    write_report(report_path, models, {**periods_report(session.periods), "known_until": known_until, "seed": seed})
    progress.say(f"wrote {report_path}")
    return models


def _session(
    store: FeatureStore,
    client: MlflowClient,
    experiment_id: str,
    log: KnownLog,
    settings: Settings,
    seed: int,
    progress: Progress,
    full: bool,
) -> Session:
    periods = read_periods(settings, log.span_us)
    progress.say(
        f"{len(log.transactions):,} events and {len(log.labels):,} labels known until {instant(log.known_until_us)}; "
        f"gap {periods.gap_us / SECOND / 3600:.1f} h, account horizon {periods.horizon_us / SECOND / 3600:.1f} h"
    )
    labelled_us = transaction_examples(log).start_us
    origin = provenance(settings)
    return Session(store, client, experiment_id, log, labelled_us, periods, seed, progress, settings, origin, full)


def _train_or_reason(task: Task, session: Session) -> dict[str, Any]:
    try:
        return _train_one(task, session)
    except TrainingRefusedError as refused:
        session.progress.say(f"{task.name}: {refused}")
        return _untrained(task, session.store, session.client, refused)


def _untrained(task: Task, store: FeatureStore, client: MlflowClient, refused: TrainingRefusedError) -> dict[str, Any]:
    """Why there is no new model; a champion of other definitions than the applied ones is retired, for it cannot be served."""
    version = tracking.champion_version(client, task.name)
    applied = _applied_hash(task, store)
    if version is None or applied in (None, tracking.definition_hash(client, task.name, version)):
        return {"trained": False, "reason": str(refused)}
    why = f"The champion, version {version}, was trained on other feature definitions and was retired."
    tracking.retire_champion(client, task.name, why)
    return {"trained": False, "reason": f"{refused} {why}"}


def _applied_hash(task: Task, store: FeatureStore) -> str | None:
    try:
        return store.definition_hash(task.service)
    except FeatureServiceNotFoundException:
        return None


def _train_one(task: Task, session: Session) -> dict[str, Any]:
    say, log = session.progress.say, session.log
    split = split_by_time(session.labelled_us, log.known_until_us, session.periods)
    examples = task.examples(log, session.periods, split, session.seed)
    say(f"{task.name}: features of {len(examples.start_us):,} rows by {task.service}")
    asked = _asked(task, session, examples, split)
    parts, test_rows = asked.parts(split), asked.rows(split)["test"]
    tested = tested_rows(session.settings, examples, test_rows, parts["test"])
    notes = [*examples.notes, *asked.notes, *label_notes(log, examples), *check_parts(parts)]
    parts, warned = without_leaks(parts, session.seed)
    for warning in warned:
        say(f"{task.name}: WARNING {warning}")
    say(f"{task.name}: {len(parts['fit'].fraud):,} rows to fit on")

    def tell(text: str) -> None:
        say(f"{task.name}: {text}")

    contract = {
        "model": task.name,
        "feature_service": task.service,
        "definition_hash": session.store.definition_hash(task.service),
        "base_rate": float(parts["test"].fraud.mean()),
        "trained_until": instant(split.train_end),
    }
    with tempfile.TemporaryDirectory(prefix="plumbline-train-") as folder:
        candidates, left_out = fit_candidates(parts, contract, Path(folder), session.seed, tune=session.full, say=tell)
        chosen = choose(candidates)
        rivals = compare_rivals(FULL if session.full else QUICK, parts, session.seed, tell)
        tell("prequential folds")
        folds = prequential(asked, split, chosen, parts["fit"].features.column_names, session.seed)
        say(f"{task.name}: {chosen.kind} chosen on validation rows, logging to MLflow")
        runs = {candidate.kind: _log_run(session, candidate, split) for candidate in candidates}
        version = tracking.register(session.client, task.name, runs[chosen.kind], _tags(chosen) | session.provenance)
        decision = judge(session.store, session.client, chosen, parts, tested, Path(folder), session.seed)
    if decision.promoted:
        tracking.set_champion(session.client, task.name, version)
    tracking.record_decision(session.client, task.name, version, decision.report())
    notify(session.settings, {"model": task.name, "version": version, "by": "make train", **decision.report()})
    warned += odd_columns(parts["fit"].features)
    warned += unseen_notes(parts["fit"].features, parts["test"].features, tuple(chosen.saved.contract["features"]))
    train_fraud, train_weight = (
        np.concatenate([getattr(parts[name], of) for name in ("fit", "validation")]) for of in ("fraud", "weight")
    )
    report = {
        "trained": True,
        **chosen.metrics,
        "rows": sum(len(part.fraud) for part in parts.values()),
        "positives": int(sum(part.fraud.sum() for part in parts.values())),
        "split": split_report(split),
        "parts": {name: {"rows": len(p.fraud), "positives": int(p.fraud.sum())} for name, p in parts.items()},
        "comparison": {
            "base_rate": guessing(train_fraud, train_weight, parts["test"].fraud),
            **{candidate.kind: _compared(candidate, runs) for candidate in candidates},
            **rivals,
        },
        "prequential": folds,
        "unreported_users": on_unreported_users(parts["test"], chosen.test_score, session.seed),
        "chosen": chosen.kind,
        "feature_service": task.service,
        "definition_hash": contract["definition_hash"],
        "features": chosen.saved.contract["features"],
        "thresholds": chosen.saved.contract["thresholds"],
        "mlflow_run_id": runs[chosen.kind],
        "model_version": version,
        "gate": decision.report(),
        "reason": decision.reason,
        "evaluation": evaluation(chosen, tested),
        "provenance": session.provenance,
        "warnings": warned,
        "notes": notes,
        "left_out": left_out,
    }
    return {**report, "card": card(session.settings, session.client, task.name, report, tested, chosen.test_score)}


def _compared(candidate: Candidate, runs: dict[str, str]) -> dict[str, Any]:
    precision = candidate.validation_average_precision
    return {**candidate.metrics, "validation_average_precision": precision, "mlflow_run_id": runs[candidate.kind]}


def _asked(task: Task, session: Session, examples: Examples, split: Split) -> Asked:
    try:
        return ask(session.store, task.service, examples, split, session.log.known_until_us, session.seed)
    except FeatureServiceNotFoundException as error:
        raise TrainingRefusedError(f"{error}. Run `make apply`.") from None


def _tags(candidate: Candidate) -> dict[str, str]:
    names = ("model", "kind", "feature_service", "definition_hash", "trained_until")
    return {name: str(candidate.saved.contract[name]) for name in names}


def _log_run(session: Session, candidate: Candidate, split: Split) -> str:
    numbers = {key: value for key, value in candidate.metrics.items() if isinstance(value, int | float)}
    low, high = candidate.metrics["average_precision_ci"]
    return tracking.log_run(
        session.client,
        session.experiment_id,
        f"{candidate.saved.contract['model']}-{candidate.kind}",
        params={
            "seed": session.seed,
            "features": len(candidate.saved.contract["features"]),
            "known_until": instant(session.log.known_until_us),
            **split_report(split),
            **periods_report(session.periods),
        },
        metrics={**numbers, "average_precision_low": low, "average_precision_high": high}
        | {"validation_average_precision": candidate.validation_average_precision},
        tags=_tags(candidate) | session.provenance | {"data_window": f"{instant(split.start)} to {instant(split.test_end)}"},
        folder=candidate.folder,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipelines.train", description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED, help="of every random choice (default %(default)s)")
    parser.add_argument("--full", action="store_true", help="compare every method, and search the best one's parameters")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", "Stream feature views are experimental", RuntimeWarning)  # once for every read
    settings = Settings.from_env()
    try:
        models = train(open_store(settings), settings, seed=arguments.seed, full=arguments.full)
    except tracking.TrackingUnavailableError as error:
        sys.exit(str(error))
    if not any(model["trained"] for model in models.values()):
        sys.exit(" ".join(["Nothing was trained.", *dict.fromkeys(model["reason"] for model in models.values())]))
    for name, model in models.items():
        print("\n".join(["", *summary(name, model)]))


if __name__ == "__main__":
    main()
