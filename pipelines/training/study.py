"""A small experiment: the boosted trees on some columns of some rows, worth what they find on others."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.metrics import average_precision_score

from pipelines.evaluate import bootstrap_average_precision, interval
from pipelines.training import boosting
from pipelines.training.encoding import choose_encoding
from pipelines.training.parts import Part

RESAMPLES = 200
FASTER = {"learning_rate": 0.1, "max_bin": 255}
"""Half the trees and a quarter of the bins: many models are fitted here, and only their differences count."""
CONTEXT = "transaction_context__"
STATELESS = tuple(
    CONTEXT + name for name in ("amount_cents", "event_type", "category", "channel", "country", "hour_utc", "weekday")
)
"""What a transaction says by itself, without any history."""

TableScorer = Callable[[pa.Table], np.ndarray]


def fitted(fit: Part, validation: Part, seed: int, names: Sequence[str] | None = None) -> TableScorer:
    """Scores (n,) of feature tables by trees fitted on the named columns (default: all) that say anything."""
    encoding, _ = choose_encoding(fit.features, list(names or fit.features.column_names))
    if not encoding.features:
        return lambda table: np.zeros(table.num_rows)
    rows = (encoding.matrix(fit.features), fit.fraud, encoding.matrix(validation.features), validation.fraud)
    booster = boosting.fit(encoding, *rows, seed, weight=fit.weight, changes=FASTER)
    return lambda table: boosting.margin(booster, encoding.matrix(table))


def worth(fraud: np.ndarray, score: np.ndarray, seed: int) -> dict[str, Any]:
    """{"average_precision", "average_precision_ci" (95 %, 200 resamples), "base_rate"} of n rows."""
    resampled = bootstrap_average_precision(fraud, score[:, None], seed, RESAMPLES)
    precision = float(average_precision_score(fraud, score))
    return {"average_precision": precision, "average_precision_ci": interval(resampled), "base_rate": float(fraud.mean())}


def with_placeholders(features: pa.Table) -> pa.Table:
    """The same rows as a service answers that never asked for a history: numbers are 0, texts are null."""
    columns = [
        column if name in STATELESS else _placeholder(column)
        for name, column in zip(features.column_names, features.columns, strict=True)
    ]
    return pa.table(columns, names=features.column_names)


def _placeholder(column: pa.ChunkedArray) -> pa.Array:
    is_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    return pa.repeat(pa.scalar(0, column.type), len(column)) if is_number else pa.nulls(len(column), column.type)
