"""Logistic regression as a sum of one term a feature, so that its file is its formula.

number    coef * (sign(x) ln(1 + |x|) - mean) / scale,  or `missing` where x is null
category  the value's own weight,                        or `missing` where it is null or unseen
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from pipelines.training.encoding import Encoding

FILE = "logistic.json"
REGULARISATION = (0.01, 0.1, 1.0)
"""scikit-learn's C; small values, because counts over neighbouring windows say nearly the same."""


def fit(
    encoding: Encoding,
    fit_x: np.ndarray,
    fit_y: np.ndarray,
    validation_x: np.ndarray,
    validation_y: np.ndarray,
    seed: int,
    weight: np.ndarray | None = None,
) -> dict[str, Any]:
    """The fitted formula: {"intercept", "terms": [{"feature", ...}]}, one term a feature, in order; of several strengths
    of regularisation the one whose average precision is best on the later validation rows; weight (n,) is of the fit rows."""
    scales = [_scale(fit_x[:, i], name in encoding.categories) for i, name in enumerate(encoding.features)]
    sizes = [len(encoding.categories.get(name, ())) for name in encoding.features]
    blocks = [_block(fit_x[:, i], *scales[i], size) for i, size in enumerate(sizes)]
    borders = np.cumsum([block.shape[1] for block in blocks])[:-1]
    design = np.column_stack(blocks)
    says = np.flatnonzero(design.any(axis=0))  # most features are never missing: a flag that is 0 in every row has the weight 0
    width, design = design.shape[1], np.ascontiguousarray(design[:, says])
    model = LogisticRegression(max_iter=2000, random_state=seed, warm_start=True)
    formulas = []
    for strength in REGULARISATION:
        model.set_params(C=strength).fit(design, fit_y, weight)
        weights = np.zeros(width)
        weights[says] = model.coef_[0]
        formulas.append(_formula(encoding, scales, np.split(weights, borders), float(model.intercept_[0])))
    return max(formulas, key=lambda formula: average_precision_score(validation_y, margin(formula, validation_x)))


def save(formula: dict[str, Any], folder: Path) -> None:
    (folder / FILE).write_text(json.dumps(formula, indent=1), encoding="utf-8")


def load(folder: Path) -> dict[str, Any]:
    return json.loads((folder / FILE).read_text(encoding="utf-8"))


def margin(formula: dict[str, Any], matrix: np.ndarray) -> np.ndarray:
    """(n,) log-odds before calibration of (n, k) encoded rows."""
    total = np.full(len(matrix), formula["intercept"])
    for column, term in zip(matrix.T, formula["terms"], strict=True):
        total += _values(term, column)
    return total


def _formula(
    encoding: Encoding, scales: list[tuple[float, float]], weights: list[np.ndarray], intercept: float
) -> dict[str, Any]:
    terms = [
        _term(name, encoding.categories.get(name), *scale, weight)
        for name, scale, weight in zip(encoding.features, scales, weights, strict=True)
    ]
    return {"intercept": intercept, "terms": terms}


def _values(term: dict[str, Any], column: np.ndarray) -> np.ndarray:
    missing = np.isnan(column)
    if "values" in term:
        weights = np.array([*term["values"].values(), term["missing"]])
        return weights[np.where(missing, len(weights) - 1, column).astype(int)]
    return np.where(missing, term["missing"], term["coef"] * (_compressed(column) - term["mean"]) / term["scale"])


def _compressed(column: np.ndarray) -> np.ndarray:
    return np.sign(column) * np.log1p(np.abs(column))


def _scale(column: np.ndarray, is_category: bool) -> tuple[float, float]:
    """Mean and standard deviation of the compressed non-missing values; (0, 1) for codes."""
    values = _compressed(column[~np.isnan(column)])
    if is_category or not values.size:
        return 0.0, 1.0
    return float(values.mean()), float(values.std()) or 1.0


def _block(column: np.ndarray, mean: float, scale: float, categories: int) -> np.ndarray:
    """The columns a feature becomes: the number and a missing flag, or a flag for each category and a missing one."""
    missing = np.isnan(column)
    if categories:
        codes = np.where(missing, categories, column).astype(int)
        return np.eye(categories + 1)[codes]
    return np.column_stack([np.where(missing, 0.0, (_compressed(column) - mean) / scale), missing])


def _term(name: str, categories: list[str] | None, mean: float, scale: float, weight: np.ndarray) -> dict[str, Any]:
    if categories is None:
        return {"feature": name, "mean": mean, "scale": scale, "coef": float(weight[0]), "missing": float(weight[1])}
    values = {text: float(w) for text, w in zip(categories, weight[:-1], strict=True)}
    return {"feature": name, "values": values, "missing": float(weight[-1])}
