"""A model as it is kept: contract.json beside booster.txt or logistic.json. No pickle is ever read."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from serving.boosted_trees import BoostedTrees
from serving.estimators import Estimator, LogisticSum
from serving.population import Bins, bins_of

CONTRACT_FILE = "contract.json"
KINDS: dict[str, tuple[str, Callable[[str], Estimator]]] = {
    "lightgbm": ("booster.txt", BoostedTrees),
    "logistic": ("logistic.json", LogisticSum),
}
"""Kind of model -> its file, and what reads the file's text."""


class ModelFileError(ValueError):
    """A model folder that cannot be served; the message says which file and what is wrong."""


@dataclass(frozen=True)
class Model:
    """A model bound to its feature service.

    features     full names, in the order of the estimator's columns
    categories   feature -> known values; the index is the code, anything else is missing
    calibration  (a, b): score = sigmoid(a * margin + b)
    reads        what to ask the store for: the service, or its references as they stood when the model was bound
                 (Feast builds a service from its registry on every read, which takes longer than the read)
    distribution of features and scores when it was made; empty for a model made before contracts held it
    """

    name: str
    version: str
    feature_service: str
    definition_hash: str
    features: tuple[str, ...]
    categories: dict[str, dict[Any, int]]
    review_at: float
    decline_at: float
    calibration: tuple[float, float]
    estimator: Estimator
    reads: str | list[str]
    distribution: dict[str, Bins] = field(default_factory=dict)

    def rows(self, answers: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Feature values by full name, n answers, as (n, features) float64; raises KeyError for an absent feature."""
        values = [[answer[name] for name in self.features] for answer in answers]
        for place, codes in self._codes:
            for row in values:
                row[place] = codes.get(row[place], math.nan)
        return np.array(values, dtype=np.float64)  # None becomes NaN

    def scores(self, rows: np.ndarray) -> list[float]:
        """Calibrated probabilities in [0, 1], one a row."""
        a, b = self.calibration
        return [_sigmoid(a * margin + b) for margin in self.estimator.margins(rows).tolist()]

    def contributions(self, rows: np.ndarray) -> np.ndarray:
        """(n, features) each feature's exact share in the log-odds of the calibrated score."""
        return self.calibration[0] * self.estimator.contributions(rows)

    def decision(self, score: float) -> str:
        """approve, review or decline, by the thresholds that came with the model."""
        if score >= self.decline_at:
            return "decline"
        return "review" if score >= self.review_at else "approve"

    @cached_property
    def _codes(self) -> list[tuple[int, dict[Any, int]]]:
        """Column and codes of each feature that has categories; None is never among the values."""
        return [(place, self.categories[name]) for place, name in enumerate(self.features) if name in self.categories]


def load_model(folder: Path, version: str) -> Model:
    """Read a model folder. Raises ModelFileError where a file is missing or does not fit the contract."""
    contract = _read_json(folder / CONTRACT_FILE)
    try:
        estimator = _estimator(folder, contract["kind"], len(contract["features"]))
        calibration = contract.get("calibration") or {"a": 1.0, "b": 0.0}
        return Model(
            name=contract["model"],
            version=str(version),
            feature_service=contract["feature_service"],
            definition_hash=contract["definition_hash"],
            features=tuple(contract["features"]),
            categories={
                feature: {value: code for code, value in enumerate(values)}
                for feature, values in (contract.get("categories") or {}).items()
            },
            review_at=float(contract["thresholds"]["review"]),
            decline_at=float(contract["thresholds"]["decline"]),
            calibration=(float(calibration["a"]), float(calibration["b"])),
            estimator=estimator,
            reads=contract["feature_service"],
            distribution=bins_of(contract.get("distribution") or {}),
        )
    except KeyError as error:
        raise ModelFileError(f"{folder / CONTRACT_FILE} has no {error}; run `make train`.") from None
    except ModelFileError:
        raise
    except ValueError as error:
        raise ModelFileError(f"{folder / CONTRACT_FILE} cannot be used ({error}); run `make train`.") from error


def _estimator(folder: Path, kind: str, width: int) -> Estimator:
    if kind not in KINDS:
        raise ModelFileError(f"{folder / CONTRACT_FILE}: kind {kind!r} is not served; it must be one of {', '.join(KINDS)}.")
    file, read = KINDS[kind]
    try:
        estimator = read((folder / file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{folder / file} cannot be read ({error}); run `make train`.") from error
    if estimator.width != width:
        raise ModelFileError(f"{folder / file} has {estimator.width} features, its contract {width}; run `make train`.")
    return estimator


def _read_json(path: Path) -> dict[str, Any]:
    try:
        contract: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return contract
    except (OSError, json.JSONDecodeError) as error:
        raise ModelFileError(f"{path} cannot be read ({error}); run `make train`.") from error


def _sigmoid(margin: float) -> float:
    return 1 / (1 + math.exp(-margin)) if margin >= 0 else math.exp(margin) / (1 + math.exp(margin))
