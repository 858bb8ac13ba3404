"""Four prequential folds: the chosen model fitted anew as time goes on, tested each time on what came a label delay later."""

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

from pipelines.training.candidates import LEAST_POSITIVES, Candidate
from pipelines.training.encoding import choose_encoding
from pipelines.training.model_files import KINDS
from pipelines.training.parts import Asked, Part
from pipelines.training.report import instant
from pipelines.training.split import Split
from pipelines.training.thinning import thinned

FOLDS = 4
FOLD_HONEST = 50_000


def fold_splits(split: Split) -> list[Split]:
    """The last four eighths of [start, test_end) as tests, each after a gap as long as the split's own.

    start [train ---------------) gap [test)
    start [train ----------------------) gap [test)      a fold whose gap leaves no time to train is left out
    """
    gap = split.gap_end - split.train_end
    eighth = (split.test_end - split.start) // (2 * FOLDS)
    begins = [split.start + (FOLDS + number) * eighth for number in range(FOLDS)]
    return [Split(split.start, begin - gap, begin, begin + eighth) for begin in begins if begin - gap > split.start + eighth]


def start_folds(
    asked: Asked, split: Split, chosen: Candidate, names: Sequence[str], seed: int, pool: Executor
) -> list[Future[dict[str, Any] | None]]:
    """What each fold found, to come; None of one with too few frauds in a part.

    names are the features that a model may use; which of them say anything is decided anew on each fold's fit rows.
    """

    def told(fold: Split) -> dict[str, Any] | None:
        parts = asked.parts(fold)
        if not all(_enough(part, LEAST_POSITIVES[name]) for name, part in parts.items()):
            return None
        return {**_told(fold, parts["test"]), "average_precision": _average_precision(parts, chosen, names, seed)}

    return [pool.submit(told, fold) for fold in fold_splits(split)]


def prequential(found: Sequence[dict[str, Any] | None]) -> dict[str, Any]:
    """{"folds": [...], "average_precision_mean", "average_precision_sd"}; the means are None with fewer than two folds."""
    folds = [fold for fold in found if fold is not None]
    precisions = [fold["average_precision"] for fold in folds]
    several = len(folds) > 1
    return {
        "folds": folds,
        "average_precision_mean": float(np.mean(precisions)) if several else None,
        "average_precision_sd": float(np.std(precisions, ddof=1)) if several else None,
    }


def _enough(part: Part, least: int) -> bool:
    return least <= part.fraud.sum() < len(part.fraud)


def _average_precision(parts: dict[str, Part], chosen: Candidate, names: Sequence[str], seed: int) -> float:
    fit, validation, test = fewer(parts["fit"], seed), parts["validation"], parts["test"]
    encoding, _ = choose_encoding(fit.features, names)
    module = KINDS[chosen.saved.contract["kind"]]
    rows = (encoding.matrix(fit.features), fit.fraud, encoding.matrix(validation.features), validation.fraud)
    model = module.fit(encoding, *rows, seed, weight=fit.weight, **chosen.extra)
    margin = module.margin(model, encoding.matrix(test.features))
    return float(average_precision_score(test.fraud, margin, sample_weight=test.weight))


def fewer(part: Part, seed: int, most: int = FOLD_HONEST) -> Part:
    """The part with at most `most` honest rows, each weighing more: four fits that only tell how steady a model is."""
    kept, weight = thinned(part.fraud, np.ones(len(part.fraud), dtype=bool), seed, most)
    weighted = replace(part, weight=weight if part.weight is None else part.weight * weight)
    return weighted.taken(np.flatnonzero(kept))


def _told(fold: Split, test: Part) -> dict[str, Any]:
    return {
        "train_end": instant(fold.train_end),
        "test_start": instant(fold.gap_end),
        "test_end": instant(fold.test_end),
        "rows": len(test.fraud),
        "positives": int(test.fraud.sum()),
        "base_rate": float(np.average(test.fraud, weights=test.weight)),
    }
