"""What a score is worth on rows it never saw: every metric beside its base rate, with an interval."""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, roc_curve

RESAMPLES = 1000
INTERVAL = (2.5, 97.5)
FALSE_POSITIVE_RATES = (0.001, 0.005)
CALIBRATION_BINS = 10


def evaluate(fraud: np.ndarray, score: np.ndarray, seed: int) -> dict[str, object]:
    """Metrics of n rows (fraud 1 or 0, score in [0, 1]); needs at least one row of each class.

    average_precision_ci is the 95 % percentile bootstrap interval; brier is the mean squared error of the probability.
    """
    return {
        "rows": len(fraud),
        "positives": int(fraud.sum()),
        "base_rate": float(fraud.mean()),
        "average_precision": float(average_precision_score(fraud, score)),
        "average_precision_ci": interval(bootstrap_average_precision(fraud, score[:, None], seed)),
        **{f"recall_at_fpr_{rate}": recall_at_fpr(fraud, score, rate) for rate in FALSE_POSITIVE_RATES},
        "brier": float(brier_score_loss(fraud, score)),
    }


def interval(resampled: Sequence[float] | np.ndarray, percentiles: tuple[float, float] = INTERVAL) -> list[float]:
    """The percentile interval [low, high] of what bootstrap resamples gave: of 95 %, or from one percentile to another."""
    low, high = np.percentile(resampled, percentiles)
    return [float(low), float(high)]


def calibration(fraud: np.ndarray, score: np.ndarray) -> dict[str, object]:
    """Whether probabilities mean what they say: of ten equally large groups by score the mean score and the share of
    frauds; expected_error is the mean distance of the two, weighted by rows; expected_frauds is the sum of the scores."""
    groups = [rows for rows in np.array_split(np.argsort(score, kind="stable"), CALIBRATION_BINS) if len(rows)]
    bins = [
        {"rows": len(rows), "mean_score": float(score[rows].mean()), "fraud_share": float(fraud[rows].mean())}
        for rows in groups
    ]
    distances = [abs(score[rows].mean() - fraud[rows].mean()) * len(rows) for rows in groups]
    return {
        "bins": bins,
        "expected_error": float(sum(distances) / len(score)),
        "expected_frauds": float(score.sum()),
        "known_frauds": int(fraud.sum()),
    }


def recall_at_fpr(fraud: np.ndarray, score: np.ndarray, rate: float) -> float:
    """The largest share of frauds that some threshold finds while flagging at most `rate` of the honest rows."""
    false_positive_rate, recall, _ = roc_curve(fraud, score)
    return float(recall[false_positive_rate <= rate].max())


def bootstrap_average_precision(fraud: np.ndarray, scores: np.ndarray, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """(resamples, m) average precision of m scores (n, m) on the same resampled rows, so that columns can be compared.

    A resample without a fraud counts as 0. Same seed, same rows, same numbers.
    """
    generator = np.random.default_rng(seed)
    segments = np.column_stack([_segments(fraud, scores[:, column]) for column in range(scores.shape[1])])
    cells, sizes = np.unique(np.column_stack([segments, fraud.astype(np.int64)]), axis=0, return_counts=True)
    rankings = [_ranking(-cells[:, column]) for column in range(scores.shape[1])]
    result = np.empty((resamples, scores.shape[1]))
    for i in range(resamples):
        counts = generator.multinomial(len(fraud), sizes / len(fraud))
        for column, (order, last_of_group) in enumerate(rankings):
            result[i, column] = _weighted_average_precision(cells[order, -1], counts[order], last_of_group)
    return result


def _segments(fraud: np.ndarray, score: np.ndarray) -> np.ndarray:
    """(n,) how many scores that some fraud has are larger than each row's.

    All that average precision depends on: rows of one class between two frauds can be drawn as one.
    """
    frauds_scores = np.unique(score[fraud == 1])
    return len(frauds_scores) - np.searchsorted(frauds_scores, score, side="right")


def _ranking(score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows from the highest score down, and the last row of each group of equal scores (a threshold takes them all)."""
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    return order, np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))


def _weighted_average_precision(fraud: np.ndarray, counts: np.ndarray, last_of_group: np.ndarray) -> float:
    found = np.cumsum(fraud * counts)[last_of_group]
    flagged = np.cumsum(counts)[last_of_group]
    if found[-1] == 0:
        return 0.0
    precision = found / np.maximum(flagged, 1)
    return float(np.sum(np.diff(found, prepend=0) * precision) / found[-1])
