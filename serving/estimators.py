"""What every kind of model does (boosted_trees is one), and the simplest kind: a sum of one term a feature."""

import json
from typing import Any, Protocol

import numpy as np


class Estimator(Protocol):
    """What a kind of model does with rows (n, width) of float64, NaN for missing."""

    width: int

    def margins(self, rows: np.ndarray) -> np.ndarray:
        """(n,) log-odds before calibration."""

    def contributions(self, rows: np.ndarray) -> np.ndarray:
        """(n, width) each feature's share in the log-odds."""


class LogisticSum:
    """intercept + one term a feature; a contribution is the term itself.

    number    coef * (sign(x) ln(1 + |x|) - mean) / scale,  or `missing` where x is NaN
    category  the weight of the value's code,               or `missing` where it is NaN
    """

    def __init__(self, text: str) -> None:
        formula = json.loads(text)
        self._intercept, self._terms = float(formula["intercept"]), formula["terms"]
        self.width = len(self._terms)

    def margins(self, rows: np.ndarray) -> np.ndarray:
        margins: np.ndarray = self._intercept + self.contributions(rows).sum(axis=1)
        return margins

    def contributions(self, rows: np.ndarray) -> np.ndarray:
        return np.column_stack([_term(term, rows[:, i]) for i, term in enumerate(self._terms)])


def _term(term: dict[str, Any], column: np.ndarray) -> np.ndarray:
    missing = np.isnan(column)
    if "values" in term:
        weights: np.ndarray = np.array([*term["values"].values(), term["missing"]])
        codes = np.where(missing, len(weights) - 1, column).astype(int)
        return np.take(weights, codes)
    compressed = np.sign(column) * np.log1p(np.abs(column))
    return np.asarray(np.where(missing, term["missing"], term["coef"] * (compressed - term["mean"]) / term["scale"]))
