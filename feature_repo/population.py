"""How values are distributed over bins, and how far another population is from that: one formula for loads, models and answers.

The population stability index over bins that hold shares p of the rows then and q of the rows now is

    PSI = sum of (q - p) ln(q / p)

(Siddiqi, Credit Risk Scorecards, 2006; it is the symmetric divergence of Kullback and Leibler, 1951). Below 0.1 counts as
stable, above 0.25 as another population.
"""

import numpy as np

SCORE = "score"
"""What a model's scores are called among its features."""


def shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(k + 2,) shares of (n,) values in edges[i - 1] <= x < edges[i] of (k,) ascending edges, and last of the NaN ones."""
    places = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right"))
    return np.bincount(places, minlength=len(edges) + 2) / max(1, len(values))


def stability_index(then: np.ndarray, now: np.ndarray, least: float) -> float:
    """The index of two (k,) shares; an empty bin counts as `least`, so that the logarithm exists."""
    then, now = np.maximum(then, least), np.maximum(now, least)
    return float(np.sum((now - then) * np.log(now / then)))
