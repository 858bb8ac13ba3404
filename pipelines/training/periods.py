"""How long things take in this log (label delay, gap between train and test, account horizon), and what it knows."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from feature_repo.settings import Settings
from plumbline.durations import DAY, SECOND

LONGEST_LABEL_DELAY_US = 7 * DAY
LONGEST_HORIZON_US = DAY
SHARE_OF_SPAN = 10
"""Short logs shrink the defaults to a tenth of their span, so that something remains to train and to test on."""


@dataclass(frozen=True)
class Periods:
    """Durations in microseconds; source is where the log came from, 'unknown' where no loader said so."""

    source: str
    label_delay_us: int
    gap_us: int
    horizon_us: int
    span_us: int


def read_periods(settings: Settings, span_us: int) -> Periods:
    """The durations that the loader wrote to reports/load.json; what it left out is the lesser of the default
    (7 d, 7 d, 24 h) and a tenth of the log's span (microseconds)."""
    path = settings.reports_path / "load.json"
    written = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    tenth = span_us // SHARE_OF_SPAN
    label_delay_us = _us(written, "label_delay_s", min(LONGEST_LABEL_DELAY_US, tenth))
    return Periods(
        source=str(written.get("source", "unknown")),
        label_delay_us=label_delay_us,
        gap_us=_us(written, "gap_s", label_delay_us),
        horizon_us=max(SECOND, _us(written, "account_horizon_s", min(LONGEST_HORIZON_US, tenth))),
        span_us=_us(written, "span_s", span_us),
    )


def known_until_us(transactions_path: Path, newest_append_us: int | None, now_us: int) -> int:
    """The instant up to which the log knows (microseconds): its load or its newest append, whichever is later.

    newest_append_us is None where nothing came through the topic. A log without a record of its load knows up to now.
    Labels created later (a log moved to now has some) are not known, and two trainings on one log know the same.
    """
    commit = transactions_path / "_commits" / "history.json"
    if commit.exists():
        replaced_at = datetime.fromisoformat(json.loads(commit.read_text(encoding="utf-8"))["replaced_at"])
        loaded_us = int(replaced_at.timestamp() * SECOND)
    else:
        loaded_us = now_us if newest_append_us is None else 0
    return min(now_us, max(loaded_us, newest_append_us or 0))


def _us(written: dict[str, float], name: str, default: int) -> int:
    return default if written.get(name) is None else int(float(written[name]) * SECOND)
