"""How the score does on users of whom nothing was reported lately: what it finds before anybody complained.

The Fraud Detection Handbook (Le Borgne, Siblini, Lebichot, Bontempi, 2022) tests this way: cards known as compromised are
blocked, so their further transactions are not the model's to find. There a card is known by the reports of a week before
the test and of the test's own week: two weeks at its end.
"""

from typing import Any

import numpy as np
import pyarrow.compute as pc

from pipelines.evaluate import evaluate
from pipelines.training.parts import Part

REPORTED = "user_chargebacks__fraud_id_count_14d"


def on_unreported_users(test: Part, score: np.ndarray, seed: int) -> dict[str, Any] | None:
    """Metrics (pipelines.evaluate) on test rows without a fraud reported on their user in the 14 days before.

    None where the features do not know, or no such row is fraud or none is honest.
    """
    if REPORTED not in test.features.column_names:
        return None
    rows = pc.equal(test.features[REPORTED], 0).fill_null(True).to_numpy(zero_copy_only=False).astype(bool)
    fraud = test.fraud[rows]
    return evaluate(fraud, score[rows], seed) if 0 < fraud.sum() < len(fraud) else None
