"""Fewer honest rows to fit on, each weighing more: millions of them say hardly more than a hundred thousand."""

import numpy as np

MOST_HONEST = 100_000


def thinned(fraud: np.ndarray, rows: np.ndarray, seed: int, most: int = MOST_HONEST) -> tuple[np.ndarray, np.ndarray]:
    """(rows (n,) bool without some honest ones, weight (n,)) such that the weighted share of frauds stays what it was.

    fraud  (n,) 1.0 or 0.0, NaN where unknown
    rows   (n,) bool: the rows to fit on; of those that are honest at most `most` stay, drawn at random
    """
    weight = np.ones(len(fraud))
    honest = np.flatnonzero(rows & (fraud == 0))
    if len(honest) <= most:
        return rows, weight
    kept = np.random.default_rng(seed).choice(honest, most, replace=False)
    fewer = rows.copy()
    fewer[honest] = False
    fewer[kept] = True
    weight[kept] = len(honest) / most
    return fewer, weight
