"""How a model's inputs and scores were distributed when it was made: what the service compares with, to notice a drift."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from feature_repo.population import SCORE, shares

TENTHS = np.arange(1, 10) / 10


def distribution(matrix: np.ndarray, features: Sequence[str], score: np.ndarray) -> dict[str, dict[str, Any]]:
    """Feature (and SCORE) -> its bins: `edges`, the different deciles of its values, and `shares` of the rows in each bin.

    matrix  (n, k) encoded as the model takes it, NaN for missing; score (n,)

    Bin i holds edges[i - 1] <= x < edges[i]; the last bin holds the missing. Shares add up to 1.
    """
    columns = zip([*features, SCORE], [*matrix.T, score], strict=True)
    return {name: _bins(values) for name, values in columns}


def _bins(values: np.ndarray) -> dict[str, Any]:
    there = values[~np.isnan(values)]
    edges = np.unique(np.quantile(there, TENTHS, method="inverted_cdf")) if len(there) else np.empty(0)
    return {"edges": edges.tolist(), "shares": shares(values, edges).tolist()}
