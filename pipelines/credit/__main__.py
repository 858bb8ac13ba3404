"""`make credit SOURCE=german.data` (or SOURCE= MAPPING= of any applications): load, apply, ten folds, register, report."""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from feature_repo import open_store
from feature_repo.settings import Settings
from pipelines.credit import german
from pipelines.credit.crossval import MEAN, out_of_fold, stratified
from pipelines.credit.registry import MODEL, SERVICE, judge_and_register
from pipelines.credit.worth import credit_figures, fairness, without_a_model
from pipelines.definitions import apply_definitions
from pipelines.evaluate import calibration
from pipelines.ingest.choice import MAPPINGS
from pipelines.ingest.refusals import LoadRefused
from pipelines.load import load
from pipelines.training import tracking
from pipelines.training.encoding import choose_encoding
from pipelines.training.features import training_features
from pipelines.training.label_notes import label_notes
from pipelines.training.labels import TrainingRefusedError, read_known_log
from pipelines.training.leaks import leaks_and_suspects
from pipelines.training.odd_columns import odd_columns
from pipelines.training.rows import transaction_examples
from plumbline import FeatureStore
from plumbline.instant import to_microseconds

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SEED = 7
FEW_BAD = 50
AGE = "user_attributes__age_years"


def credit_settings(settings: Settings) -> Settings:
    """The same settings with a data directory of their own: applications do not replace the transactions."""
    return replace(settings, data_dir=settings.data_dir / "credit")


def load_applications(settings: Settings, source: Path, mapping: Path | None, spark: "SparkSession | None" = None) -> None:
    """Load `source` into the log of `settings` and apply the definitions; german.data needs no mapping.

    Raises LoadRefused as `make data` does, and where Feast refuses the definitions.
    """
    given = str(source)
    if mapping is None and german.is_german(source):
        given = str(german.with_header(source, settings.data_dir / "raw" / "german"))
        mapping = MAPPINGS / "german.yaml"
    load(settings, given, mapping, spark=spark)
    apply_definitions(settings)


def known_applications(store: FeatureStore, settings: Settings, now_us: int) -> tuple[pa.Table, np.ndarray, list[str]]:
    """Features (n, k) of each application as known at its instant, bad (n,) 1.0 or 0.0, and notes.

    Raises TrainingRefusedError where there are no attributes, no labels, one class only or too few of one.
    """
    log = read_known_log(store, settings, now_us)
    examples = transaction_examples(log)
    bad = examples.outcomes(log.known_until_us).fraud
    known = ~np.isnan(bad)
    if SERVICE not in {service.name for service in store.list_feature_services()}:
        raise TrainingRefusedError("These applications have no `attributes` in their mapping; there is nothing to score by.")
    count, rows = int(bad[known].sum()), int(known.sum())
    if min(count, rows - count) < 20:
        raise TrainingRefusedError(
            f"{count:,} of {rows:,} applications are bad; at least 20 of each class are needed. Is `positive` in the mapping "
            "the value that means bad?"
        )
    few = [f"Only {count} bad applicants: every figure is rough, look at its interval."] if count < FEW_BAD else []
    features = training_features(store, SERVICE, examples.only(known))
    return features, bad[known], [*examples.notes, *label_notes(log, examples), *few]


def evaluate_credit(features: pa.Table, bad: np.ndarray, seed: int, say: Callable[[str], object] = print) -> dict[str, Any]:
    """Ten folds without the columns that are the label; the report, with the out-of-fold scores (n,) of the mean as `score`."""
    leaks, suspected = leaks_and_suspects(features, bad, seed)
    warnings = [*(f"{leak} The models are trained without it." for leak in leaks), *suspected]
    for warning in warnings:
        say(f"WARNING {warning}")
    usable = features.drop_columns([leak.feature for leak in leaks])
    encoding, left_out = choose_encoding(usable, usable.column_names)
    if not encoding.features:
        raise TrainingRefusedError(f"No column varies among the applications. {' '.join(left_out)}")
    folds = stratified(bad, seed)
    say("ten folds of three models and their mean")
    scores = out_of_fold(usable, bad, folds, seed)
    models = without_a_model(bad) | {name: credit_figures(bad, score, folds, seed) for name, score in scores.items()}
    ages = features[AGE].to_pandas().to_numpy(dtype=np.float64) if AGE in features.column_names else None
    return {
        "applicants": len(bad),
        "bad": int(bad.sum()),
        "base_rate": float(bad.mean()),
        "chosen": MEAN,
        **models[MEAN],
        "models": models,
        "calibration": calibration(bad, scores[MEAN]),
        "fairness_by_age": None if ages is None else fairness(bad, scores[MEAN], ages),
        "warnings": warnings + odd_columns(usable),
        "left_out": left_out,
        "features": list(encoding.features),
        "score": scores[MEAN],
    }


def credit(
    settings: Settings, source: Path, mapping: Path | None, seed: int = SEED, spark: "SparkSession | None" = None
) -> dict[str, Any]:
    """All of `make credit`; returns what reports/credit.json holds.

    settings are the platform's; the applications live in its data directory's folder `credit`.
    """
    own = credit_settings(settings)
    load_applications(own, source, mapping, spark)
    store = open_store(own)
    tracking.wait_for_mlflow(settings)
    loaded_at = datetime.fromisoformat(json.loads((own.reports_path / "load.json").read_text())["loaded_at"])
    features, bad, notes = known_applications(store, own, to_microseconds(loaded_at))
    report = evaluate_credit(features, bad, seed)
    score = report.pop("score")
    report["notes"] = notes
    with tempfile.TemporaryDirectory(prefix="plumbline-credit-") as folder:
        report |= judge_and_register(
            settings, own, store, features.select(report["features"]), bad, score, report, Path(folder), seed
        )
    path = settings.reports_path / "credit.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1, allow_nan=False), encoding="utf-8")
    return report


def told(report: dict[str, Any]) -> list[str]:
    """The report as lines for the terminal."""
    lines = [f"{report['applicants']:,} applicants, {report['bad']:,} bad (base rate {report['base_rate']:.3f}); ten folds:"]
    for name, figures in report["models"].items():
        if "cost_ci" not in figures:
            lines.append(f"    {name:<14} cost {figures['cost']:.3f} an applicant (5 to 1)")
            continue
        auc, (low, high) = figures["auc_10_fold"], figures["auc_ci"]
        cheap, dear = figures["cost_ci"]
        lines.append(
            f"    {name:<14} AUC {auc:.3f} [{low:.3f}, {high:.3f}]  average precision {figures['average_precision']:.3f}  "
            f"cost {figures['cost']:.3f} [{cheap:.3f}, {dear:.3f}] an applicant"
        )
    for band, found in (report["fairness_by_age"] or {}).items():
        lines.append(
            f"    age {band:<12} {found['rows']:,} applicants, bad {found['base_rate']:.2f}; "
            f"refused {found['good_refused']:.2f} of the good, {found['bad_refused']:.2f} of the bad"
        )
    verdict = "champion" if report["gate"]["promoted"] else "NOT promoted"
    lines.append(f"    {MODEL} version {report['model_version']}: {verdict}. {report['gate']['reason']}")
    lines += [f"    WARNING: {warning}" for warning in report["warnings"]]
    return lines + [f"    note: {note}" for note in (*report["notes"], *report["left_out"])]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipelines.credit", description=__doc__)
    parser.add_argument("--source", required=True, help="german.data, or a CSV, CSV.gz or Parquet file with a mapping")
    parser.add_argument("--mapping", default="", help="a mapping file (data/README.md); german.data needs none")
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args()
    if not given.source:
        sys.exit("make credit: SOURCE is missing; give german.data, or a file of applications and MAPPING=.")
    try:
        report = credit(Settings.from_env(), Path(given.source), Path(given.mapping) if given.mapping else None, given.seed)
    except (LoadRefused, TrainingRefusedError, tracking.TrackingUnavailableError) as refused:
        sys.exit(f"make credit: {refused}")
    print("\n".join(told(report)))


if __name__ == "__main__":
    main()
