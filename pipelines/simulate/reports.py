"""When a fraud becomes known: a chargeback later, sometimes never; what nobody reported is honest after a delay."""

import numpy as np
from numpy.random import Generator

DEFAULT_DELAY_S = 7 * 86_400.0
NEVER_REPORTED = 0.1


def label_delay_s(span_s: float) -> float:
    """Seconds until an unreported transaction counts as honest: 7 days, or a tenth of the span where that is less."""
    return min(DEFAULT_DELAY_S, span_s / 10)


def reported(rng: Generator, is_fraud: np.ndarray, t_us: np.ndarray, delay_s: float) -> tuple[np.ndarray, np.ndarray]:
    """The label of each transaction (1 or 0) and the instant it became known, microseconds since the epoch.

    Frauds: log-normal, median half of `delay_s`, at most three times it; one in ten is never reported and reads 0.
    """
    label = is_fraud & (rng.random(len(is_fraud)) >= NEVER_REPORTED)
    share = np.exp(rng.normal(np.log(0.5), 0.7, len(is_fraud))).clip(0.02, 3.0)
    wait_us = np.where(label, share, 1.0) * delay_s * 1e6
    return label.astype(np.int64), t_us + wait_us.astype(np.int64)
