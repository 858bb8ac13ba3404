"""Ten folds: every applicant is scored by models that never saw him, encoding and all."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa
from sklearn.model_selection import StratifiedKFold

from pipelines.training import logistic
from pipelines.training.encoding import Encoding, choose_encoding
from pipelines.training.model_files import SavedModel

FOLDS = 10
VALIDATION_SHARE = 0.25
MEAN = "mean"
"""What is registered: the mean of the members' probabilities."""

COMMON: dict[str, Any] = {
    "objective": "binary",
    "bagging_freq": 1,
    "max_cat_to_onehot": 16,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
BOOSTED: dict[str, Any] = {
    "extra_trees": True,
    "learning_rate": 0.03,
    "num_leaves": 8,
    "min_data_in_leaf": 8,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.7,
    "lambda_l2": 1.0,
    "num_iterations": 400,
}
"""Splits at random places and few features a tree, because a thousand rows are soon learned by heart."""

BAD_BAGGED, GOOD_BAGGED = 0.632, 0.27
FOREST: dict[str, Any] = {
    "boosting": "rf",
    "num_leaves": 60,
    "min_data_in_leaf": 3,
    "feature_fraction": 0.9,
    "feature_fraction_bynode": 0.25,
    "pos_bagging_fraction": BAD_BAGGED,
    "neg_bagging_fraction": GOOD_BAGGED,
    "num_iterations": 300,
}
"""A balanced forest: each tree sees about as many bad applicants as good ones. The calibration takes that back."""


Fit = Callable[[Encoding, pa.Table, np.ndarray, int], Any]
"""From an encoding, features (n, k), bad (n,) and a seed to a model of the member's kind."""


@dataclass(frozen=True)
class Member:
    """One of the averaged models: its kind in pipelines.training.model_files, how it is fitted, its calibration."""

    kind: str
    fit: Fit
    calibration: dict[str, float] | None = None


def _trees(parameters: dict[str, Any]) -> Fit:
    def fit(encoding: Encoding, features: pa.Table, bad: np.ndarray, seed: int) -> lightgbm.Booster:
        rows = lightgbm.Dataset(encoding.matrix(features), bad, categorical_feature=encoding.category_indices())
        return lightgbm.train({**COMMON, **parameters, "seed": seed}, rows)

    return fit


def _formula(encoding: Encoding, features: pa.Table, bad: np.ndarray, seed: int) -> dict[str, Any]:
    """The strength of its regularisation is chosen on a quarter of the rows."""
    matrix, later = encoding.matrix(features), np.random.default_rng(seed).random(len(bad)) < VALIDATION_SHARE
    return logistic.fit(encoding, matrix[~later], bad[~later], matrix[later], bad[later], seed)


MEMBERS: dict[str, Member] = {
    "boosted_trees": Member("lightgbm", _trees(BOOSTED)),
    "balanced_forest": Member("lightgbm", _trees(FOREST), {"a": 1.0, "b": math.log(GOOD_BAGGED / BAD_BAGGED)}),
    "logistic": Member("logistic", _formula),
}


def fit_member(name: str, features: pa.Table, bad: np.ndarray, seed: int, contract: Mapping[str, Any]) -> SavedModel:
    """A member fitted on features (n, k) and bad (n,), with its encoding; `contract` holds what the caller knows already."""
    member = MEMBERS[name]
    encoding, _ = choose_encoding(features, features.column_names)
    own = {
        "kind": member.kind,
        "features": list(encoding.features),
        "categories": encoding.categories,
        "calibration": member.calibration,
    }
    return SavedModel({**contract, **own}, member.fit(encoding, features, bad, seed))


def stratified(bad: np.ndarray, seed: int) -> list[np.ndarray]:
    """The rows of each fold, with as many bad applicants in each."""
    splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    return [rows for _, rows in splitter.split(np.zeros(len(bad)), bad)]


def out_of_fold(features: pa.Table, bad: np.ndarray, folds: list[np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Name -> (n,) probabilities of the mean and of each member, each by models fitted on the other folds."""
    scores = {name: np.empty(len(bad)) for name in MEMBERS}
    for rows in folds:
        others = np.setdiff1d(np.arange(len(bad)), rows)
        seen, unseen = features.take(pa.array(others)), features.take(pa.array(rows))
        for name in MEMBERS:
            scores[name][rows] = fit_member(name, seen, bad[others], seed, {}).score(unseen)
    return {MEAN: np.mean(list(scores.values()), axis=0), **scores}
