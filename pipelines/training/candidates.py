"""The models that compete: fitted, calibrated, given thresholds, written to files, read back, and measured."""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

from pipelines.evaluate import evaluate
from pipelines.training.calibration import platt, probability
from pipelines.training.distribution import distribution
from pipelines.training.encoding import Encoding, choose_encoding
from pipelines.training.labels import TrainingRefusedError
from pipelines.training.model_files import KINDS, SavedModel, read_model, write_model
from pipelines.training.parts import Part
from pipelines.training.rivals import Rival, Rows
from pipelines.training.thresholds import Costs, choose_thresholds, losses, total_cost
from pipelines.training.tuning import tuned

FEW_POSITIVES = 50
LEAST_POSITIVES = {"fit": 10, "validation": 3, "test": 3}


@dataclass(frozen=True)
class Candidate:
    """A model as it was read back from its files, with its worth on validation (to choose) and test (to report).

    kind is its name in the table; extra is what its fit takes besides the rows, so that it can be fitted again.
    """

    kind: str
    extra: dict[str, Any]
    folder: Path
    saved: SavedModel
    validation_average_precision: float
    test_score: np.ndarray
    metrics: dict[str, Any]


def check_parts(parts: Mapping[str, Part]) -> list[str]:
    """Refuse parts that nothing can be learned from; returns notes on those from which little can.

    Raises TrainingRefusedError with the counts of every part.
    """
    counts = {name: (int(part.fraud.sum()), len(part.fraud)) for name, part in parts.items()}
    told = ", ".join(f"{name} {positives:,} of {rows:,}" for name, (positives, rows) in counts.items())
    found, of = sum(positives for positives, _ in counts.values()), sum(rows for _, rows in counts.values())
    if of and found in (0, of):
        raise TrainingRefusedError(
            f"{'Every one' if found else 'None'} of the {of:,} rows is a known fraud: one class teaches nothing. Correct "
            "`positive` in the mapping's `label`, give honest rows a label too, or load a longer log."
        )
    for name, (positives, rows) in counts.items():
        if positives == rows or positives < LEAST_POSITIVES[name]:
            raise TrainingRefusedError(
                f"The {name} rows hold {positives:,} known frauds among {rows:,}; at least {LEAST_POSITIVES[name]} and "
                f"one honest row are needed (frauds by part: {told}). Load a longer log, or one with more labels."
            )
    if found < FEW_POSITIVES:
        return [f"Only {found} known frauds ({told}): every figure here is rough, look at its interval."]
    return []


def usable_encoding(parts: Mapping[str, Part], service: str) -> tuple[Encoding, list[str]]:
    """How to encode the features of the fit rows, and notes on those left out.

    Raises TrainingRefusedError where no feature of the service is usable.
    """
    encoding, notes = choose_encoding(parts["fit"].features, parts["fit"].features.column_names)
    if not encoding.features:
        raise TrainingRefusedError(f"No feature of {service} varies in the fit rows. {' '.join(notes)}")
    return encoding, notes


def fit_candidates(
    parts: Mapping[str, Part],
    encoding: Encoding,
    contract: dict[str, Any],
    folder: Path,
    seed: int,
    pool: Executor,
    *,
    tune: bool = False,
    say: Callable[[str], object] = str,
) -> list[Candidate]:
    """LightGBM, with its parameters searched too (tune), and logistic regression on the same rows and encoding.

    contract  what the trainer knows already
    pool      where each is fitted, beside the others
    say       told of each model before it is fitted
    """
    wanted: dict[str, tuple[str, dict[str, Any]]] = {kind: (kind, {}) for kind in KINDS}
    if tune:
        say("searching parameters of lightgbm")
        found = tuned(encoding, _rows(encoding, parts["fit"]), _rows(encoding, parts["validation"]), seed, parts["fit"].weight)
        wanted["lightgbm_tuned"] = ("lightgbm", {"changes": found})

    def fitted(name: str) -> Candidate:
        say(f"fitting {name}")
        return _fit_one(name, *wanted[name], parts, encoding, contract, folder, seed)

    return list(pool.map(fitted, wanted))


def compare_rivals(
    rivals: Mapping[str, Rival],
    parts: Mapping[str, Part],
    encoding: Encoding,
    seed: int,
    pool: Executor,
    say: Callable[[str], object] = str,
) -> dict[str, Future[dict[str, Any]]]:
    """Metrics (pipelines.evaluate) of each rival on the test rows, its scores calibrated on the validation rows; to come."""
    fit, validation, test = (_rows(encoding, parts[name]) for name in ("fit", "validation", "test"))

    def compared(name: str) -> dict[str, Any]:
        say(f"fitting {name}")
        scorer = rivals[name](encoding, fit, validation, seed, parts["fit"].weight)
        in_validation = scorer(validation[0])
        score = probability(scorer(test[0]), platt(in_validation, validation[1]))
        precision = float(average_precision_score(validation[1], in_validation))
        return {**evaluate(test[1], score, seed), "validation_average_precision": precision}

    return {name: pool.submit(compared, name) for name in rivals}


def _rows(encoding: Encoding, part: Part) -> Rows:
    return encoding.matrix(part.features), part.fraud


def choose(candidates: list[Candidate]) -> Candidate:
    """The best on validation rows; the test only reports."""
    return max(candidates, key=lambda candidate: candidate.validation_average_precision)


def _fit_one(
    name: str,
    kind: str,
    extra: dict[str, Any],
    parts: Mapping[str, Part],
    encoding: Encoding,
    contract: dict[str, Any],
    folder: Path,
    seed: int,
) -> Candidate:
    module, fit, validation, test = KINDS[kind], parts["fit"], parts["validation"], parts["test"]
    matrix = encoding.matrix(validation.features)
    model = module.fit(
        encoding, encoding.matrix(fit.features), fit.fraud, matrix, validation.fraud, seed, weight=fit.weight, **extra
    )
    margin = module.margin(model, matrix)
    calibration = platt(margin, validation.fraud)
    costs = Costs()
    thresholds = choose_thresholds(_mean_loss(fit, validation, costs), costs)
    own = {
        "kind": kind,
        "features": list(encoding.features),
        "categories": encoding.categories,
        "margin": module.FILE,
        "calibration": calibration,
        "thresholds": thresholds,
        "distribution": distribution(matrix, encoding.features, probability(margin, calibration)),
    }
    target = folder / name
    target.mkdir()
    write_model(target, model, {**contract, **own})
    saved = read_model(target)  # what is measured is what is registered
    score = saved.score(test.features)
    decisions = total_cost(score, test.fraud, losses(test.fraud, test.loss_cents, costs), thresholds, costs)
    metrics = {**evaluate(test.fraud, score, seed), "decisions": decisions}
    in_validation = float(average_precision_score(validation.fraud, probability(margin, calibration)))
    return Candidate(name, extra, target, saved, in_validation, score, metrics)


def _mean_loss(fit: Part, validation: Part, costs: Costs) -> float:
    """Mean loss of a fraud that was known when the model could first have been used."""
    fraud = np.concatenate([fit.fraud, validation.fraud])
    loss = losses(fraud, np.concatenate([fit.loss_cents, validation.loss_cents]), costs)
    return max(1.0, float(loss[fraud == 1].mean()))
