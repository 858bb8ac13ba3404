"""How a model's inputs and scores were distributed when it was made, as its contract says, and how far others are from that.

An empty bin counts as half a row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from feature_repo.population import shares, stability_index


@dataclass(frozen=True)
class Bins:
    """edges, ascending; shares of the rows with edges[i - 1] <= x < edges[i], and last of those with none."""

    edges: np.ndarray
    shares: np.ndarray

    def stability(self, values: np.ndarray) -> float:
        """The index of (n,) values, NaN for missing, against the shares."""
        return stability_index(self.shares, shares(values, self.edges), least=0.5 / len(values))


def bins_of(distribution: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, Bins]:
    """The bins that a model's contract holds by feature and SCORE. Raises KeyError or ValueError where they make no sense."""
    found = {name: Bins(np.array(of["edges"], float), np.array(of["shares"], float)) for name, of in distribution.items()}
    for name, bins in found.items():
        if len(bins.shares) != len(bins.edges) + 2:
            raise ValueError(f"{name} has {len(bins.shares)} shares, expected {len(bins.edges) + 2}")
    return found
