"""The honest pipeline's rows and model, which every leak is held against."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa

from feature_repo.settings import Settings
from pipelines.training.candidates import check_parts
from pipelines.training.labels import read_known_log
from pipelines.training.parts import Asked, Part, ask
from pipelines.training.periods import read_periods
from pipelines.training.rows import transaction_examples
from pipelines.training.split import Split, split_by_time
from pipelines.training.study import TableScorer, fitted
from plumbline import FeatureStore

SERVICE = "transaction_fraud_v1"
MOST_HONEST = 60_000


@dataclass(frozen=True)
class Ground:
    """The rows that were asked for, how time cuts them, and the seed of everything random."""

    store: FeatureStore
    asked: Asked
    split: Split
    seed: int

    @cached_property
    def parts(self) -> dict[str, Part]:
        return self.asked.parts(self.split)

    @cached_property
    def model(self) -> TableScorer:
        """The honest model: fitted on what was known, in order of time."""
        return fitted(self.parts["fit"], self.parts["validation"], self.seed)

    @property
    def entity_rows(self) -> pd.DataFrame:
        """One row for each row of asked.features, in order."""
        return self.asked.examples.entity_rows[self.asked.asked].reset_index(drop=True)

    def instead(self, features: pa.Table) -> "Ground":
        """The same rows with other values; the columns' order stays."""
        named = features.select(self.asked.features.column_names)
        return replace(self, asked=replace(self.asked, features=named))


def honest_ground(store: FeatureStore, settings: Settings, now_us: int, seed: int, most_honest: int = MOST_HONEST) -> Ground:
    """The labelled transactions of the log in DATA_DIR with their features as they were known.

    Raises TrainingRefusedError where there is nothing to learn from.
    """
    log = read_known_log(store, settings, now_us)
    examples = transaction_examples(log)
    split = split_by_time(examples.start_us, log.known_until_us, read_periods(settings, log.span_us))
    ground = Ground(store, ask(store, SERVICE, examples, split, log.known_until_us, seed, most_honest), split, seed)
    check_parts(ground.parts)
    return ground


def pooled(parts: list[Part]) -> Part:
    """All rows of several parts, one after the other."""
    weights = [np.ones(len(part.fraud)) if part.weight is None else part.weight for part in parts]
    return Part(
        pa.concat_tables([part.features for part in parts]),
        np.concatenate([part.fraud for part in parts]),
        np.concatenate([part.loss_cents for part in parts]),
        np.concatenate(weights),
    )
