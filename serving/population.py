"""How a model's inputs and scores were distributed when it was made, as its contract says, and how far others are from that.

The population stability index of a feature, over bins that hold shares p of the rows then and q of the rows now, is

    PSI = sum of (q - p) ln(q / p)

(Siddiqi, Credit Risk Scorecards, 2006; it is the symmetric divergence of Kullback and Leibler, 1951). Below 0.1 counts as
stable, above 0.25 as another population. An empty bin counts as half a row, so that the logarithm exists.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

SCORE = "score"
"""What the scores are called among the features."""


@dataclass(frozen=True)
class Bins:
    """edges, ascending; shares of the rows with edges[i - 1] <= x < edges[i], and last of those with none."""

    edges: np.ndarray
    shares: np.ndarray

    def stability(self, values: np.ndarray) -> float:
        """The index of (n,) values, NaN for missing, against the shares."""
        places = np.where(np.isnan(values), len(self.edges) + 1, np.searchsorted(self.edges, values, side="right"))
        counts = np.bincount(places, minlength=len(self.shares))
        least = 0.5 / len(values)
        before, now = np.maximum(self.shares, least), np.maximum(counts / len(values), least)
        return float(np.sum((now - before) * np.log(now / before)))


def bins_of(distribution: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, Bins]:
    """The bins that a model's contract holds by feature and SCORE. Raises KeyError or ValueError where they make no sense."""
    found = {name: Bins(np.array(of["edges"], float), np.array(of["shares"], float)) for name, of in distribution.items()}
    for name, bins in found.items():
        if len(bins.shares) != len(bins.edges) + 2:
            raise ValueError(f"{name} has {len(bins.shares)} shares, expected {len(bins.edges) + 2}")
    return found
