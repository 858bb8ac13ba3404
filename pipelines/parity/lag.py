"""The effect of lag: how logged answers differ from what training says of the same entities and instants.

An answer rests on what the fold had applied, training on all that the platform had been told of by then. Parity compares
answers with the log at their own positions, where nothing may differ; what differs here is what came between.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow as pa

from pipelines.recompute import is_equal
from plumbline import FeatureStore

ABSOLUTE_TOLERANCE = 1e-9
"""Floats of other events need no finer comparison."""


class EffectOfLag(NamedTuple):
    """Answers and their values, and how many of each differ from training's, as far as the log reaches by now."""

    answers: int
    values: int
    answers_that_differ: int
    values_that_differ: int

    def __str__(self) -> str:
        values = f"{self.values_that_differ:,} of {self.values:,} values"
        answers = f"{self.answers_that_differ:,} of {self.answers:,} answers"
        return f"{values}, in {answers}, are not what training says of the same instants"


def effect_of_lag(store: FeatureStore, answers: Sequence[Mapping[str, Any]]) -> EffectOfLag:
    """Of answers whose features are all declared; their values as known at their instants are read from the log."""
    alike = defaultdict(list)
    for answer in answers:
        alike[tuple(answer["features"]), tuple(answer["entity_row"])].append(answer)
    differing = [count for of_shape in alike.values() for count in _differing(store, of_shape)]
    values = sum(len(answer["features"]) for answer in answers)
    return EffectOfLag(len(answers), values, sum(map(bool, differing)), sum(differing))


def _differing(store: FeatureStore, answers: Sequence[Mapping[str, Any]]) -> list[int]:
    """How many values of each answer are others than training's; the answers have the same features."""
    names = list(answers[0]["features"])
    rows = [answer["entity_row"] | {"event_timestamp": datetime.fromisoformat(answer["as_of"])} for answer in answers]
    job = store.get_historical_features(
        entity_df=pa.Table.from_pylist(rows).to_pandas(integer_object_nulls=True),
        features=[":".join(name.split("__", 1)) for name in names],
        full_feature_names=True,
        filter_by_created_timestamp=True,
    )
    known = job.to_arrow().select(names).to_pylist()
    return [
        sum(not is_equal(answer["features"][name], row[name], ABSOLUTE_TOLERANCE) for name in names)
        for answer, row in zip(answers, known, strict=True)
    ]
