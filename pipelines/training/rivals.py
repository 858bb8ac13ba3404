"""Models that are compared and never served: what other methods make of the same rows.

Everything a rival needs besides the model (medians, synthetic frauds, an isolation forest) is fitted on the fit rows.
"""

from collections.abc import Callable

import numpy as np
import xgboost
from sklearn.ensemble import IsolationForest, RandomForestClassifier

from pipelines.training import boosting
from pipelines.training.encoding import Encoding
from pipelines.training.oversampling import smote

TREES = 100
TREE_ROWS = 25_000
"""A tree of a forest draws at most so many rows: more of them take minutes and hardly change what a hundred trees say."""
ISOLATION_ROWS = 20_000
XGBOOST = {
    "objective": "binary:logistic",
    "eval_metric": "logloss",
    "tree_method": "hist",
    "grow_policy": "lossguide",
    "max_leaves": 15,
    "max_depth": 0,
    "eta": 0.1,
    "subsample": 0.8,
    "colsample_bytree": 0.7,
}
XGBOOST_PATIENCE = boosting.PATIENCE_TREES // 2
"""Its trees learn twice as fast. Weighing rows and shrinking leaves as ours do, it needs 23 s of processor time where it took
55, and finds as much (107,000 rows of 82 features: average precision on validation rows 0.789, before 0.787; 2026-11-22)."""

Rows = tuple[np.ndarray, np.ndarray]
"""A matrix (n, k) of encoded features, NaN where missing, and fraud (n,)."""
Scorer = Callable[[np.ndarray], np.ndarray]
"""From a matrix (m, k) to (m,) scores, larger where fraud is likelier."""
Rival = Callable[[Encoding, Rows, Rows, int, np.ndarray | None], Scorer]
"""Fits on (encoding, fit rows, later validation rows, seed, weight (n,) of the fit rows or None for 1 each). Only those whose
trees are counted by their loss on validation rows, which weigh 1, mind the weight: ranks hardly do."""


def random_forest(encoding: Encoding, fit: Rows, validation: Rows, seed: int, weight: np.ndarray | None = None) -> Scorer:
    """Trees on bootstraps of all rows."""
    return _forest(fit, seed, None)


def balanced_forest(encoding: Encoding, fit: Rows, validation: Rows, seed: int, weight: np.ndarray | None = None) -> Scorer:
    """The same, with both classes weighing as much in each bootstrap."""
    return _forest(fit, seed, "balanced_subsample")


def xgboost_trees(encoding: Encoding, fit: Rows, validation: Rows, seed: int, weight: np.ndarray | None = None) -> Scorer:
    """The other boosted trees, with leaves, bins and shrinkage as ours have; texts are their codes, as in the forests."""
    ours = boosting.parameters(seed, len(fit[1]))
    bins = ours["max_bin"] + 1
    train = xgboost.QuantileDMatrix(*fit, weight=weight, max_bin=bins)
    later = xgboost.QuantileDMatrix(*validation, max_bin=bins, ref=train)
    booster = xgboost.train(
        {**XGBOOST, "max_bin": bins, "lambda": ours["lambda_l2"], "seed": seed, "nthread": 1},
        train,
        num_boost_round=boosting.MAX_TREES,
        evals=[(later, "validation")],
        early_stopping_rounds=XGBOOST_PATIENCE,
        verbose_eval=False,
    )
    used = (0, booster.best_iteration + 1)
    return lambda matrix: np.asarray(booster.inplace_predict(matrix, iteration_range=used, predict_type="margin"))


def weighted_lightgbm(encoding: Encoding, fit: Rows, validation: Rows, seed: int, weight: np.ndarray | None = None) -> Scorer:
    """Boosted trees in which all frauds together weigh as much as all honest rows."""
    fraud = fit[1]
    balance = np.where(fraud == 1, (fraud == 0).sum() / max(1.0, fraud.sum()), 1.0)
    return _boosted(encoding, fit, validation, seed, balance)


def smote_lightgbm(encoding: Encoding, fit: Rows, validation: Rows, seed: int, weight: np.ndarray | None = None) -> Scorer:
    """Boosted trees on fit rows to which SMOTE added frauds; missing values are the fit rows' medians."""
    filled = filled_by(fit[0])
    more = smote(filled(fit[0]), fit[1], seed)
    scorer = _boosted(Encoding(encoding.features, {}), more, (filled(validation[0]), validation[1]), seed)
    return lambda matrix: scorer(filled(matrix))


def isolation_lightgbm(encoding: Encoding, fit: Rows, validation: Rows, seed: int, weight: np.ndarray | None = None) -> Scorer:
    """Boosted trees with one more feature: how easily an isolation forest of the fit rows separates a row."""
    filled = filled_by(fit[0])
    random = np.random.default_rng(seed)
    some = random.choice(len(fit[0]), min(ISOLATION_ROWS, len(fit[0])), replace=False)
    forest = IsolationForest(n_estimators=TREES, random_state=seed).fit(filled(fit[0][some]))

    def widened(matrix: np.ndarray) -> np.ndarray:
        return np.column_stack([matrix, -forest.score_samples(filled(matrix))])

    wider = Encoding((*encoding.features, "isolation"), encoding.categories)
    scorer = _boosted(wider, (widened(fit[0]), fit[1]), (widened(validation[0]), validation[1]), seed, weight)
    return lambda matrix: scorer(widened(matrix))


QUICK: dict[str, Rival] = {"random_forest": random_forest, "balanced_forest": balanced_forest, "xgboost": xgboost_trees}
FULL: dict[str, Rival] = {
    **QUICK,
    "lightgbm_class_weights": weighted_lightgbm,
    "lightgbm_smote": smote_lightgbm,
    "lightgbm_isolation_feature": isolation_lightgbm,
}


def _forest(fit: Rows, seed: int, class_weight: str | None) -> Scorer:
    drawn = max(1, min(len(fit[1]) // 2, TREE_ROWS))
    forest = RandomForestClassifier(
        TREES, min_samples_leaf=5, max_samples=drawn, class_weight=class_weight, random_state=seed, n_jobs=1
    ).fit(*fit)
    return lambda matrix: forest.predict_proba(matrix)[:, 1]


def _boosted(encoding: Encoding, fit: Rows, validation: Rows, seed: int, weight: np.ndarray | None = None) -> Scorer:
    booster = boosting.fit(encoding, *fit, *validation, seed, weight=weight)
    return lambda matrix: boosting.margin(booster, matrix)


def filled_by(matrix: np.ndarray) -> Scorer:
    """What replaces NaN by the column's median in `matrix` (0 where it has no value)."""
    empty = np.isnan(matrix).all(axis=0)
    median = np.nanmedian(np.where(empty, 0.0, matrix), axis=0)
    return lambda other: np.where(np.isnan(other), median, other)
