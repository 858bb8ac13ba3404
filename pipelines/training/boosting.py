"""The boosted trees: LightGBM, small enough for exact reasons in a millisecond, the same for the same seed and data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from pipelines.training.encoding import Encoding

FILE = "booster.txt"
MAX_TREES = 300
PATIENCE_TREES = 40


def parameters(seed: int, rows: int) -> dict[str, Any]:
    """Fine bins find hard cuts in the far tail (facts: +0.03 average precision on a public benchmark).

    Leaves of rare frauds are shrunk the more rows there are: on 100,000 rows of three labelled card data sets an L2 of 20
    to 30 instead of 1 gave +0.001 to +0.003 on cards without a report (2026-11-22), and a few rows could bear no such weight.
    """
    return {
        "objective": "binary",
        "metric": "binary_logloss",
        "learning_rate": 0.05,
        "num_leaves": 15,
        "min_data_in_leaf": max(5, min(40, rows // 200)),
        "lambda_l2": max(1.0, min(30.0, rows / 5_000)),
        "feature_fraction": 0.7,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "max_bin": 1023,
        "min_data_in_bin": 1,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }


def fit(
    encoding: Encoding,
    fit_x: np.ndarray,
    fit_y: np.ndarray,
    validation_x: np.ndarray,
    validation_y: np.ndarray,
    seed: int,
    weight: np.ndarray | None = None,
    changes: Mapping[str, Any] | None = None,
) -> lightgbm.Booster:
    """Trees fitted on (n, k) rows, as many as the later validation rows find useful (at most MAX_TREES).

    weight   (n,) of the fit rows, None for 1 each
    changes  parameters other than the usual ones
    """
    train = lightgbm.Dataset(fit_x, fit_y, weight=weight, categorical_feature=encoding.category_indices())
    validation = lightgbm.Dataset(validation_x, validation_y, reference=train)
    return lightgbm.train(
        {**parameters(seed, len(fit_y)), **(changes or {})},
        train,
        num_boost_round=MAX_TREES,
        valid_sets=[validation],
        callbacks=[lightgbm.early_stopping(PATIENCE_TREES, verbose=False)],
    )


def save(booster: lightgbm.Booster, folder: Path) -> None:
    booster.save_model(folder / FILE, num_iteration=booster.best_iteration)


def load(folder: Path) -> lightgbm.Booster:
    return lightgbm.Booster(model_file=str(folder / FILE))


def margin(booster: lightgbm.Booster, matrix: np.ndarray) -> np.ndarray:
    """(n,) log-odds before calibration."""
    return np.asarray(booster.predict(matrix, raw_score=True, num_threads=1))
