"""Margins as probabilities: Platt's sigmoid, fitted on validation rows only."""

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression


def platt(margin: np.ndarray, fraud: np.ndarray) -> dict[str, float] | None:
    """{"a", "b"} so that expit(a * margin + b) is calibrated; None where a larger margin does not mean more fraud.

    Targets are (n1 + 1) / (n1 + 2) and 1 / (n0 + 2) (Platt, "Probabilistic Outputs for Support Vector Machines", 1999);
    they keep a perfectly separated validation set from an infinite slope.
    """
    positives = int(fraud.sum())
    target = np.where(fraud == 1, (positives + 1) / (positives + 2), 1 / (len(fraud) - positives + 2))
    column = np.concatenate([margin, margin])[:, None]
    classes = np.repeat([1, 0], len(margin))
    weights = np.concatenate([target, 1 - target])
    model = LogisticRegression(C=1e6, max_iter=1000).fit(column, classes, sample_weight=weights)
    slope = float(model.coef_[0, 0])
    return {"a": slope, "b": float(model.intercept_[0])} if slope > 0 else None


def probability(margin: np.ndarray, calibration: dict[str, float] | None) -> np.ndarray:
    """(n,) scores in [0, 1]; without a calibration the margin is taken as log-odds."""
    return expit(margin if calibration is None else calibration["a"] * margin + calibration["b"])
