"""The boosted trees' parameters by Optuna: a fixed number of trials, the same for the same seed and data."""

from typing import Any

import numpy as np
import optuna
from sklearn.metrics import average_precision_score

from pipelines.training import boosting
from pipelines.training.encoding import Encoding
from pipelines.training.rivals import Rows

TRIALS = 15


def tuned(encoding: Encoding, fit: Rows, validation: Rows, seed: int, weight: np.ndarray | None = None) -> dict[str, Any]:
    """The changes to boosting.parameters with the best average precision on the later validation rows.

    The usual parameters are the first trial, so that the result is never worse there; test rows have no say.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    usual = boosting.parameters(seed, len(fit[1]))
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial({name: usual[name] for name in ("num_leaves", "min_data_in_leaf", "lambda_l2", "feature_fraction")})

    def worth(trial: optuna.Trial) -> float:
        booster = boosting.fit(encoding, *fit, *validation, seed, weight=weight, changes=_suggested(trial))
        return float(average_precision_score(validation[1], boosting.margin(booster, validation[0])))

    study.optimize(worth, n_trials=TRIALS)
    return dict(study.best_params)


def _suggested(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "num_leaves": trial.suggest_int("num_leaves", 4, 63, log=True),
        "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 2, 100, log=True),
        "lambda_l2": trial.suggest_float("lambda_l2", 0.1, 30.0, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.3, 1.0),
    }
