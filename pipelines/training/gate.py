"""The gate: which model becomes champion, decided on test rows that neither model was fitted on, with its reasons."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipelines.evaluate import bootstrap_average_precision, interval
from pipelines.training.served_parity import ServedParity

LATENCY_BUDGET_MS = 25.0
"""Processor time to score one row, features at hand: half of what an answer within 50 ms may take."""

EXPECTED_TO_KNOWN = (0.5, 2.0)
NOISE_DEVIATIONS = 3.0
PARITY = "parity"
SLICE_ROWS = 10
SLICE_INTERVAL = (0.5, 99.5)
SLICE_RESAMPLES = 300


@dataclass(frozen=True)
class Check:
    """One condition: its name, whether it holds, and the figures that say so."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Challenger:
    """A model before the gate, on n test rows.

    metrics          of pipelines.evaluate; fraud (n,) 1 or 0; score (n,) in [0, 1]
    definition_hash  of the features it was trained on; applied_hash of those that are applied now
    leaks            its features that are the label under another name, one sentence each
    latency_ms       processor time to score one row; model_bytes the size of the model's files
    served           what parity found of served values, None where none was compared
    slices           name -> (n,) bool: the rows on which it may not be worse than the champion
    """

    metrics: Mapping[str, Any]
    fraud: np.ndarray
    score: np.ndarray
    definition_hash: str
    applied_hash: str
    leaks: tuple[str, ...] = ()
    latency_ms: float = 0.0
    model_bytes: int = 0
    served: ServedParity | None = None
    slices: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """promoted, the reason in one sentence, every check, and the incumbent (version text, None without one)."""

    promoted: bool
    reason: str
    checks: tuple[Check, ...] = ()
    incumbent_version: str | None = None
    difference_ci: tuple[float, float] | None = None

    def report(self) -> dict[str, Any]:
        ci = None if self.difference_ci is None else list(self.difference_ci)
        return {
            "promoted": self.promoted,
            "reason": self.reason,
            "incumbent_version": self.incumbent_version,
            "average_precision_difference_ci": ci,
            "checks": [vars(check) for check in self.checks],
        }


def decide(
    challenger: Challenger, incumbent: tuple[str, np.ndarray] | None, seed: int, incumbent_note: str | None = None
) -> Decision:
    """Whether a challenger becomes champion: every check must pass.

    incumbent  the champion's version and its scores of the same rows; None where there is none that could be compared,
               with incumbent_note saying why

    It must rest on the applied definitions, use no feature that is the label, beat the base rate by its whole interval,
    be calibrated and quick, and wait while a served value differs from the log; and beat the incumbent by more than noise
    (95 % interval of the paired bootstrap difference), in no slice being worse by more than noise (99 % there, because
    there are several).
    """
    checks = [*_alone(challenger)]
    if incumbent is None:
        return _decision(challenger, checks, incumbent_note or "there is no champion yet")
    version, score = incumbent
    worst, best = _difference(challenger, score, seed)
    told = f"against version {version} on the same rows {worst:+.3f} to {best:+.3f}"
    verdict = "better than" if worst > 0 else "worse by more than noise than" if best < 0 else "not better than noise above"
    checks.append(Check("better than the champion", worst > 0, f"{told}: {verdict} the champion"))
    checks.append(_slices(challenger, score, seed))
    return _decision(challenger, checks, told, version, (worst, best))


def _decision(
    challenger: Challenger,
    checks: list[Check],
    told: str,
    version: str | None = None,
    difference_ci: tuple[float, float] | None = None,
) -> Decision:
    metrics = challenger.metrics
    figure = (
        f"average precision {metrics['average_precision']:.3f} (from {metrics['average_precision_ci'][0]:.3f}, "
        f"base rate {metrics['base_rate']:.3f})"
    )
    failed = [check for check in checks if not check.passed]
    parity = next(check.detail for check in checks if check.name == PARITY)
    why = "; ".join(check.detail for check in failed) if failed else f"better than guessing; {told}; {parity}"
    return Decision(not failed, f"{figure}: {why}.", tuple(checks), version, difference_ci)


def _alone(challenger: Challenger) -> list[Check]:
    metrics = challenger.metrics
    low, base_rate = metrics["average_precision_ci"][0], metrics["base_rate"]
    is_applied = challenger.definition_hash == challenger.applied_hash
    hashes = f"trained on feature definitions {challenger.definition_hash}, applied are {challenger.applied_hash}"
    return [
        Check("feature hash", is_applied, hashes + ("" if is_applied else "; run `make apply`, then `make train`")),
        Check("no leak", not challenger.leaks, " ".join(challenger.leaks) or "no feature alone tells fraud from honest rows"),
        Check(
            "better than guessing",
            low > base_rate,
            f"interval from {low:.3f}, base rate {base_rate:.3f}: {'' if low > base_rate else 'not '}better than guessing",
        ),
        _calibrated(challenger.fraud, challenger.score),
        Check(
            "latency",
            challenger.latency_ms <= LATENCY_BUDGET_MS,
            f"{challenger.latency_ms:.1f} ms of processor time to score one row, budget {LATENCY_BUDGET_MS:.0f} ms "
            f"(the model's files have {challenger.model_bytes / 1e6:.1f} MB)",
        ),
        _parity(challenger.served),
    ]


def _parity(served: ServedParity | None) -> Check:
    """No value that was served may differ from the log; where none was compared yet, the reasons say so."""
    if served is None:
        return Check(PARITY, True, "no served value was compared with the log yet (`make parity`)")
    told = f"{served.mismatches:,} of {served.values:,} served values differ from the log"
    return Check(PARITY, served.mismatches == 0, told + ("; `make parity` names the causes" if served.mismatches else ""))


def _calibrated(fraud: np.ndarray, score: np.ndarray) -> Check:
    """As many frauds as the probabilities add up to: within a factor of 2, or within three standard deviations of a sum
    of independent draws."""
    expected, known = float(score.sum()), float(fraud.sum())
    low, high = EXPECTED_TO_KNOWN
    near = low * known <= expected <= high * known
    noise = NOISE_DEVIATIONS * float(np.sqrt((score * (1 - score)).sum()))
    passed = near or abs(expected - known) <= noise
    told = f"the probabilities add up to {expected:.1f} frauds, {known:.0f} are known"
    return Check("calibrated", passed, told if passed else f"{told}: not calibrated")


def _difference(challenger: Challenger, score: np.ndarray, seed: int) -> tuple[float, float]:
    resampled = bootstrap_average_precision(challenger.fraud, np.column_stack([challenger.score, score]), seed)
    worst, best = interval(resampled[:, 0] - resampled[:, 1])
    return worst, best


def _slices(challenger: Challenger, score: np.ndarray, seed: int) -> Check:
    """In no slice with at least ten frauds and ten honest rows worse than the incumbent by more than noise."""
    worse, compared = [], []
    both = np.column_stack([challenger.score, score])
    for name, rows in challenger.slices.items():
        fraud = challenger.fraud[rows]
        if min(fraud.sum(), len(fraud) - fraud.sum()) < SLICE_ROWS:
            continue
        compared.append(name)
        resampled = bootstrap_average_precision(fraud, both[rows], seed, SLICE_RESAMPLES)
        low, high = interval(resampled[:, 0] - resampled[:, 1], SLICE_INTERVAL)
        if high < 0:
            worse.append(f"{name} ({low:+.3f} to {high:+.3f})")
    told = f"worse by more than noise in {', '.join(worse)}" if worse else f"not worse in any of {len(compared)} slices"
    return Check("slices", not worse, told)
