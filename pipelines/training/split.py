"""The split by time: train, a gap as long as labels take, test. Nothing is shuffled."""

from dataclasses import dataclass

import numpy as np

from pipelines.training.labels import TrainingRefusedError
from pipelines.training.periods import Periods

TRAIN_SHARE = 0.7
VALIDATION_SHARE = 0.25
"""Of the training rows: the last of them, on which trees are counted, scores calibrated and models chosen."""
CUTS = 400
SPARSE = 10
"""A log is sparse where all its labelled transactions span so many times what the middle 98 % of them do: an instant of 1990
among those of 2026 is one row, and most of the time."""


@dataclass(frozen=True)
class Split:
    """Instants in microseconds:  start [train: fit, then validation) train_end (gap) gap_end [test) test_end.

    Fit and validation use the labels known at gap_end, the instant at which the model could first have been used; test
    uses all that are known.
    """

    start: int
    train_end: int
    gap_end: int
    test_end: int

    def masks(self, start_us: np.ndarray, end_us: np.ndarray) -> dict[str, np.ndarray]:
        """Which of n examples are fit, validation and test: those whose whole period [start, end) lies in the part."""
        train = (start_us >= self.start) & (end_us <= self.train_end)
        starts = np.sort(start_us[train])
        border = starts[int((1 - VALIDATION_SHARE) * len(starts))] if len(starts) else self.train_end
        return {
            "fit": train & (end_us <= border),
            "validation": train & (start_us >= border),
            "test": (start_us >= self.gap_end) & (end_us <= self.test_end),
        }


def split_by_time(labelled_us: np.ndarray, known_until_us: int, periods: Periods) -> Split:
    """Cut the time of the labelled transactions (n,) into train, gap and test.

    The test ends a gap before known_until_us, so that its labels had as long to arrive as those of the training part,
    and is at least one account horizon long. The gap lies where rows_before ** 0.7 * rows_after ** 0.3 is largest: at
    70 % of an even log, and elsewhere in one that is nearly empty for hours, so that neither side is. In a sparse log the
    places looked at are as many rows apart, otherwise as much time.

    Raises TrainingRefusedError when the gap leaves nothing on one side.
    """
    times = np.sort(labelled_us)
    end = min(int(times[-1]) + 1, known_until_us - periods.gap_us)
    latest = end - periods.gap_us - min(periods.horizon_us, (end - int(times[0])) // 4)
    if is_sparse(times):
        cuts = times[np.linspace(0, max(np.searchsorted(times, latest) - 1, 0), CUTS).astype(np.int64)]
    else:
        cuts = np.linspace(times[0], max(latest, times[0]), CUTS).astype(np.int64)
    before = np.searchsorted(times, cuts)
    after = np.maximum(np.searchsorted(times, end) - np.searchsorted(times, cuts + periods.gap_us), 0)
    worth = before**TRAIN_SHARE * after ** (1 - TRAIN_SHARE)
    if not worth.any():
        raise TrainingRefusedError(
            f"The labelled transactions span {(times[-1] - times[0]) / 3.6e9:.1f} h; the label delay of "
            f"{periods.gap_us / 3.6e9:.1f} h as a gap between train and test leaves nothing. Load a longer log, or "
            "labels that arrive sooner."
        )
    train_end = int(cuts[np.argmax(worth)])
    return Split(int(times[0]), train_end, train_end + periods.gap_us, end)


def is_sparse(times: np.ndarray) -> bool:
    """Whether few of the instants (n,), in order, lie far from all others."""
    few = len(times) // 100
    return bool(times[-1] - times[0] > SPARSE * (times[len(times) - 1 - few] - times[few]))
