"""The rows that training looks at, with their features, asked for once and cut into parts by time."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.training.features import training_features
from pipelines.training.rows import Examples, Outcomes
from pipelines.training.split import Split
from pipelines.training.thinning import MOST_HONEST, thinned
from plumbline import FeatureStore


@dataclass(frozen=True)
class Part:
    """Rows of one part: features (n, k) under full names, fraud (n,) 1.0 or 0.0, loss_cents (n,), NaN where unknown,
    weight (n,) of each row, None for 1."""

    features: pa.Table
    fraud: np.ndarray
    loss_cents: np.ndarray
    weight: np.ndarray | None = None

    def taken(self, rows: np.ndarray) -> "Part":
        """The given rows (positions)."""
        weight = None if self.weight is None else self.weight[rows]
        return Part(self.features.take(rows), self.fraud[rows], self.loss_cents[rows], weight)


@dataclass(frozen=True)
class Asked:
    """n examples; asked (n,) bool of those with a row in features, in order; weight (n,); until when labels are known."""

    examples: Examples
    asked: np.ndarray
    features: pa.Table
    weight: np.ndarray
    known_until_us: int
    notes: tuple[str, ...] = ()

    def parts(self, split: Split, fit_known_us: int | None = None) -> dict[str, Part]:
        """Fit and validation with what was known at gap_end (or fit_known_us, which only a leak would say), test with all
        that is known; unknown outcomes are left out."""
        known = self._known(split, fit_known_us)
        place = np.cumsum(self.asked) - 1
        parts = {}
        for name, rows in self._rows(split, known).items():
            features = self.features.take(place[rows])
            parts[name] = Part(features, known[name].fraud[rows], known[name].loss_cents[rows], self.weight[rows])
        return parts

    def rows(self, split: Split, fit_known_us: int | None = None) -> dict[str, np.ndarray]:
        """Which of the n examples are in each part, (n,) bool."""
        return self._rows(split, self._known(split, fit_known_us))

    def _rows(self, split: Split, known: dict[str, Outcomes]) -> dict[str, np.ndarray]:
        masks = split.masks(self.examples.start_us, self.examples.end_us)
        return {name: mask & self.asked & ~np.isnan(known[name].fraud) for name, mask in masks.items()}

    def _known(self, split: Split, fit_known_us: int | None) -> dict[str, Outcomes]:
        then, now = self.examples.outcomes(fit_known_us or split.gap_end), self.examples.outcomes(self.known_until_us)
        return {"fit": then, "validation": then, "test": now}


def ask(
    store: FeatureStore, service: str, examples: Examples, split: Split, known_until_us: int, seed: int, most: int = MOST_HONEST
) -> Asked:
    """Features of every example with a known outcome up to the test's end; of many honest ones to fit on, a share.

    Raises FeatureServiceNotFoundException where the service was never applied.
    """
    now = examples.outcomes(known_until_us)
    inside = (examples.start_us >= split.start) & (examples.end_us <= split.test_end) & ~np.isnan(now.fraud)
    fit = split.masks(examples.start_us, examples.end_us)["fit"] & inside
    kept, weight = thinned(now.fraud, fit, seed, most)
    asked = inside & (kept | ~fit)
    notes: tuple[str, ...] = ()
    if kept.sum() < fit.sum():
        notes = (
            f"Fitted on {kept.sum():,} of {fit.sum():,} rows: all frauds, and honest rows that weigh {weight.max():.2f} each.",
        )
    return Asked(examples, asked, training_features(store, service, examples.only(asked)), weight, known_until_us, notes)
