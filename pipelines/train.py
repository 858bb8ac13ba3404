"""`make train`: from labels to champions. Both models go through the same code; one that cannot be trained says why."""

import argparse
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from feast.errors import FeatureServiceNotFoundException
from mlflow import MlflowClient

from feature_repo import open_store
from feature_repo.settings import Settings
from pipelines.training import tracking
from pipelines.training.candidates import Candidate, choose, compare_rivals, fit_candidates, usable_encoding
from pipelines.training.folds import prequential, start_folds
from pipelines.training.gate import Decision
from pipelines.training.labels import KnownLog, TrainingRefusedError, read_known_log
from pipelines.training.material import contract, guessed, material, report
from pipelines.training.notice import notify
from pipelines.training.periods import read_periods
from pipelines.training.progress import Progress
from pipelines.training.provenance import provenance
from pipelines.training.report import instant, periods_report, split_report, summary, write_report
from pipelines.training.rivals import FULL, QUICK
from pipelines.training.rows import account_examples, transaction_examples
from pipelines.training.session import Session, Task
from pipelines.training.split import Split
from pipelines.training.verdict import card, judge
from plumbline import FeatureStore
from plumbline.durations import SECOND

SEED = 7
AT_ONCE = 2
"""Models and folds that are fitted beside each other, each by one thread: where two threads share one model, they wait for
each other at every split."""

TASKS = (
    Task("transaction_fraud", "transaction_fraud_v1", lambda log, *_: transaction_examples(log)),
    Task(
        "account_risk",
        "account_risk_v1",
        lambda log, periods, split, seed: account_examples(log, periods.horizon_us, split.gap_end, seed),
    ),
)


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
    def tell(text: str) -> None:
        session.progress.say(f"{task.name}: {text}")

    given = material(task, session, tell)
    parts, seed = given.parts, session.seed
    encoding, left_out = usable_encoding(parts, task.service)
    promised = contract(task, session, given)
    names = parts["fit"].features.column_names
    with tempfile.TemporaryDirectory(prefix="plumbline-train-") as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        rivals = compare_rivals(FULL if session.full else QUICK, parts, encoding, seed, pool, tell)
        candidates = fit_candidates(parts, encoding, promised, Path(folder), seed, pool, tune=session.full, say=tell)
        chosen = choose(candidates)
        tell(f"{chosen.kind} chosen on validation rows; prequential folds, logging to MLflow")
        folds = start_folds(given.asked, given.split, chosen, names, seed, pool)
        runs = {candidate.kind: _log_run(session, candidate, given.split) for candidate in candidates}
        decision = judge(session.settings, session.store, session.client, chosen, parts, given.tested, Path(folder), seed)
        tested = prequential([fold.result() for fold in folds])
        compared = {name: rival.result() for name, rival in rivals.items()}
    version = tracking.register(session.client, task.name, runs[chosen.kind], _tags(chosen) | session.provenance)
    _make_known(task, session, version, decision)
    told = {
        **report(chosen, given, seed),
        "comparison": {**guessed(parts), **{each.kind: _compared(each, runs) for each in candidates}, **compared},
        "prequential": tested,
        "mlflow_run_id": runs[chosen.kind],
        "model_version": version,
        "gate": decision.report(),
        "reason": decision.reason,
        "provenance": session.provenance,
        "left_out": left_out,
    }
    shown = card(session.settings, session.client, task.name, told, given.tested, chosen.test_score)
    return {**told, "card": shown}


def _make_known(task: Task, session: Session, version: str, decision: Decision) -> None:
    if decision.promoted:
        tracking.set_champion(session.client, task.name, version)
    else:
        tracking.set_challenger(session.client, task.name, version)
    tracking.record_decision(session.client, task.name, version, decision.report())
    notify(session.settings, {"model": task.name, "version": version, "by": "make train", **decision.report()})


def _compared(candidate: Candidate, runs: dict[str, str]) -> dict[str, Any]:
    precision = candidate.validation_average_precision
    return {**candidate.metrics, "validation_average_precision": precision, "mlflow_run_id": runs[candidate.kind]}


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


def _reasons(models: dict[str, dict[str, Any]]) -> list[str]:
    """The reason of all models, or that of each with its name where they differ."""
    reasons = {name: model["reason"] for name, model in models.items()}
    shared = list(dict.fromkeys(reasons.values()))
    return shared if len(shared) == 1 else [f"{name}: {reason}" for name, reason in reasons.items()]


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
        sys.exit(" ".join(["Nothing was trained.", *_reasons(models)]))
    for name, model in models.items():
        print("\n".join(["", *summary(name, model)]))


if __name__ == "__main__":
    main()
