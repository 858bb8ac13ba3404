"""What a credit score is worth: cost an applicant at 5 to 1, beside lending to everybody and to nobody, with intervals."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_auc_score

from pipelines.evaluate import bootstrap_average_precision, interval
from pipelines.worth import by_group

BAD_ACCEPTED, GOOD_REFUSED = 5.0, 1.0
"""german.doc's cost matrix: a bad applicant who gets the credit costs five times a good one who does not."""

REFUSE_FROM = GOOD_REFUSED / (BAD_ACCEPTED + GOOD_REFUSED)
"""The probability at which refusing and accepting cost the same: 1/6."""

RESAMPLES = 1000
AGE_BANDS = ((0, "under 25"), (25, "25 to 39"), (40, "40 to 59"), (60, "60 and over"))
Figure = Callable[[np.ndarray, np.ndarray], float]


def cost(bad: np.ndarray, score: np.ndarray) -> float:
    """Mean cost an applicant when all with a probability of at least REFUSE_FROM are refused; bad (n,) 1 or 0."""
    refused = score >= REFUSE_FROM
    return float(np.mean(BAD_ACCEPTED * ((bad == 1) & ~refused) + GOOD_REFUSED * ((bad == 0) & refused)))


def credit_figures(bad: np.ndarray, score: np.ndarray, folds: Sequence[np.ndarray], seed: int) -> dict[str, Any]:
    """AUC (mean and deviation over folds), average precision and cost of out-of-fold scores (n,), the latter two and the
    AUC over all applicants with a 95 % bootstrap interval over applicants."""
    by_fold = [float(roc_auc_score(bad[rows], score[rows])) for rows in folds]
    resampled_precision = bootstrap_average_precision(bad, score[:, None], seed, RESAMPLES)
    return {
        "auc_10_fold": float(np.mean(by_fold)),
        "auc_10_fold_deviation": float(np.std(by_fold, ddof=1)),
        "auc_ci": interval(_resampled(_auc, bad, score, seed)),
        "average_precision": float(average_precision_score(bad, score)),
        "average_precision_ci": interval(resampled_precision),
        "cost": cost(bad, score),
        "cost_ci": interval(_resampled(cost, bad, score, seed)),
    }


def without_a_model(bad: np.ndarray) -> dict[str, dict[str, float]]:
    """Lending to everybody, to nobody, and saying the base rate of every applicant."""
    base_rate = float(bad.mean())
    return {
        "always_good": {"cost": BAD_ACCEPTED * base_rate},
        "always_bad": {"cost": GOOD_REFUSED * (1 - base_rate)},
        "base_rate": {"auc_10_fold": 0.5, "average_precision": base_rate, "cost": cost(bad, np.full(len(bad), base_rate))},
    }


def fairness(bad: np.ndarray, score: np.ndarray, age_years: np.ndarray) -> dict[str, dict[str, float]]:
    """By band of age: base rate, and who is refused among the good and the bad; ages that are unknown are `unknown`."""
    bands = np.full(len(bad), "unknown", dtype=object)
    for from_years, name in AGE_BANDS:
        bands[age_years >= from_years] = name
    return by_group(bad, score >= REFUSE_FROM, bands)


def _auc(bad: np.ndarray, score: np.ndarray) -> float:
    """The area under the ROC curve from ranks (Mann and Whitney, 1947): a resample costs a sort and nothing else."""
    positives = bad.sum()
    ranks = rankdata(score)[bad == 1].sum() - positives * (positives + 1) / 2
    return float(ranks / (positives * (len(bad) - positives)))


def _resampled(figure: Figure, bad: np.ndarray, score: np.ndarray, seed: int) -> list[float]:
    """The figure of each bootstrap resample that has applicants of both classes."""
    random = np.random.default_rng(seed)
    draws = (random.integers(0, len(bad), len(bad)) for _ in range(RESAMPLES))
    return [figure(bad[rows], score[rows]) for rows in draws if 0 < bad[rows].sum() < len(rows)]
