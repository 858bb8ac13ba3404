"""More frauds to learn from: SMOTE, for the fit rows of one fold and no others."""

import numpy as np
from sklearn.neighbors import NearestNeighbors

NEIGHBOURS = 5
FRAUD_TO_HONEST = 0.1


def smote(matrix: np.ndarray, fraud: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(matrix (n, k) without NaN, fraud (n,)) with frauds added until there is one for every ten honest rows.

    Each new fraud lies on the segment between a fraud and one of its five nearest frauds, columns scaled by their
    deviation (Chawla et al., "SMOTE: Synthetic Minority Over-sampling Technique", 2002). With fewer than two frauds,
    or enough of them, nothing is added.
    """
    frauds = matrix[fraud == 1]
    missing = int(FRAUD_TO_HONEST * (fraud == 0).sum()) - len(frauds)
    if len(frauds) < 2 or missing <= 0:
        return matrix, fraud
    deviation = frauds.std(axis=0)
    scaled = frauds / np.where(deviation > 0, deviation, 1.0)
    count = min(NEIGHBOURS, len(frauds) - 1)
    near = NearestNeighbors(n_neighbors=count + 1).fit(scaled).kneighbors(scaled, return_distance=False)[:, 1:]
    random = np.random.default_rng(seed)
    base = random.integers(0, len(frauds), missing)
    other = near[base, random.integers(0, count, missing)]
    made = frauds[base] + random.random((missing, 1)) * (frauds[other] - frauds[base])
    return np.vstack([matrix, made]), np.concatenate([fraud, np.ones(missing)])
