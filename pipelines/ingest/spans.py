"""How long a source is, and what follows from it: label delay, training's gap, the account horizon."""

from dataclasses import dataclass

from pipelines.ingest.mapping import LabelRule
from pipelines.simulate.reports import label_delay_s

DEFAULT_GAP_S = 7 * 86_400.0
DEFAULT_HORIZON_S = 86_400.0


@dataclass(frozen=True)
class Durations:
    """All in seconds. Simulated ones are at most a tenth of the span; a delay given in a mapping never shrinks.

    label_delay_s is None where each label brings its own instant, or there are no labels.
    """

    span_s: float
    label_delay_s: float | None
    label_delay_given: bool
    gap_s: float
    account_horizon_s: float


def durations(span_us: int, label: LabelRule | None, is_simulated: bool) -> Durations:
    """The durations of a source whose kept events span `span_us`; `label` is the mapping's, if it has one."""
    span_s = span_us / 1e6
    tenth_s = span_s / 10
    is_given = label is not None and label.known_at is None
    delay_s = label.delay_us / 1e6 if label and is_given else label_delay_s(span_s) if is_simulated else None
    gap_s = min(DEFAULT_GAP_S, tenth_s)
    return Durations(
        span_s=span_s,
        label_delay_s=delay_s,
        label_delay_given=is_given,
        gap_s=max(gap_s, delay_s) if is_given and delay_s else gap_s,
        account_horizon_s=min(DEFAULT_HORIZON_S, tenth_s),
    )
