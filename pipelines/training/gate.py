"""The gate: which model becomes champion, decided on test rows that neither model was fitted on, with its reason."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.evaluate import INTERVAL, bootstrap_average_precision


@dataclass(frozen=True)
class Decision:
    """promoted, the reason in one sentence, and the incumbent it was held against (version text, None without one)."""

    promoted: bool
    reason: str
    incumbent_version: str | None = None
    difference_ci: tuple[float, float] | None = None

    def report(self) -> dict[str, Any]:
        ci = None if self.difference_ci is None else list(self.difference_ci)
        return {
            "promoted": self.promoted,
            "reason": self.reason,
            "incumbent_version": self.incumbent_version,
            "average_precision_difference_ci": ci,
        }


def decide(
    metrics: dict[str, Any],
    fraud: np.ndarray,
    score: np.ndarray,
    incumbent: tuple[str, np.ndarray] | None,
    seed: int,
    incumbent_note: str | None = None,
) -> Decision:
    """Whether a challenger becomes champion.

    metrics    of the challenger on the test rows (pipelines.evaluate)
    incumbent  the champion's version and its scores of the same rows; None where there is none that could be compared,
               with incumbent_note saying why

    It must beat the base rate by its whole interval, and must not be worse than the incumbent by more than noise (95 %
    interval of the paired bootstrap difference).
    """
    low, base_rate = metrics["average_precision_ci"][0], metrics["base_rate"]
    precision = f"average precision {metrics['average_precision']:.3f} (from {low:.3f}, base rate {base_rate:.3f})"
    if low <= base_rate:
        return Decision(False, f"{precision}: not better than guessing.", None if incumbent is None else incumbent[0])
    if incumbent is None:
        return Decision(True, f"{precision}: better than guessing; {incumbent_note or 'there is no champion yet'}.")
    version, incumbent_score = incumbent
    resampled = bootstrap_average_precision(fraud, np.column_stack([score, incumbent_score]), seed)
    worst, best = (float(x) for x in np.percentile(resampled[:, 0] - resampled[:, 1], INTERVAL))
    difference = f"against version {version} on the same rows {worst:+.3f} to {best:+.3f}"
    if best < 0:
        return Decision(False, f"{precision}, {difference}: worse by more than noise.", version, (worst, best))
    return Decision(True, f"{precision}, {difference}: not worse than the champion.", version, (worst, best))
