"""What `make train` is asked to do: a model's task, and what all models of one run share."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from mlflow import MlflowClient

from feature_repo.settings import Settings
from pipelines.training.labels import KnownLog
from pipelines.training.periods import Periods
from pipelines.training.progress import Progress
from pipelines.training.rows import Examples
from pipelines.training.split import Split
from plumbline import FeatureStore


@dataclass(frozen=True)
class Task:
    """One model: its registered name, its feature service, and how its examples are made."""

    name: str
    service: str
    examples: Callable[[KnownLog, Periods, Split, int], Examples]


@dataclass(frozen=True)
class Session:
    """What both models share."""

    store: FeatureStore
    client: MlflowClient
    experiment_id: str
    log: KnownLog
    labelled_us: np.ndarray
    periods: Periods
    seed: int
    progress: Progress
    settings: Settings
    provenance: dict[str, str]
    full: bool
