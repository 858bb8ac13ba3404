"""The training report: `$DATA_DIR/reports/train.json`, and its few lines on the terminal."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.training.periods import Periods
from pipelines.training.split import Split
from plumbline.durations import SECOND

MAIN_MODEL = "transaction_fraud"


def instant(at_us: int) -> str:
    """RFC 3339 text of microseconds since the epoch."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(at_us))).isoformat()


def split_report(split: Split) -> dict[str, str]:
    names = ("start", "train_end", "gap_end", "test_end")
    return {name: instant(getattr(split, name)) for name in names}


def periods_report(periods: Periods) -> dict[str, Any]:
    """The durations in seconds, under the names the loader uses."""
    return {
        "source": periods.source,
        "label_delay_s": periods.label_delay_us / SECOND,
        "gap_s": periods.gap_us / SECOND,
        "account_horizon_s": periods.horizon_us / SECOND,
        "span_s": periods.span_us / SECOND,
    }


def guessing(train_fraud: np.ndarray, train_weight: np.ndarray, test_fraud: np.ndarray) -> dict[str, float]:
    """What the training rows' base rate, said of every test row, is worth: no model may be reported without it."""
    rate = float(np.average(train_fraud, weights=train_weight))
    base_rate = float(test_fraud.mean())
    brier = float(np.mean((test_fraud - rate) ** 2))
    return {"average_precision": base_rate, "recall_at_fpr_0.005": 0.0, "brier": brier}


def write_report(path: Path, models: dict[str, dict[str, Any]], shared: dict[str, Any]) -> None:
    """Write train.json in one step: the main model's keys at the top, every model under `models`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {**shared, **models.get(MAIN_MODEL, {}), "models": models}
    written = path.with_suffix(".tmp")
    written.write_text(json.dumps(report, indent=1, allow_nan=False), encoding="utf-8")
    os.replace(written, path)


def summary(name: str, model: dict[str, Any]) -> list[str]:
    """What a terminal shows of one model."""
    if not model["trained"]:
        return [f"{name}: NOT TRAINED. {model['reason']}"]
    tested = model["parts"]["test"]["rows"]
    lines = [f"{name}: {model['rows']:,} rows, {model['positives']:,} frauds; {tested:,} test rows"]
    for kind, metrics in model["comparison"].items():
        low, high = metrics.get("average_precision_ci", (metrics["average_precision"],) * 2)
        lines.append(
            f"    {kind:<26} average precision {metrics['average_precision']:.3f} [{low:.3f}, {high:.3f}]  "
            f"recall at FPR 0.5% {metrics['recall_at_fpr_0.005']:.3f}  Brier {metrics['brier']:.5f}"
        )
    folds = model["prequential"]
    if folds["average_precision_mean"] is not None:
        mean, deviation = folds["average_precision_mean"], folds["average_precision_sd"]
        lines.append(f"    {len(folds['folds'])} prequential folds: average precision {mean:.3f} +- {deviation:.3f}")
    if unreported := model["unreported_users"]:
        precision, rate = unreported["average_precision"], unreported["base_rate"]
        lines.append(f"    of users without a report in 14 days: average precision {precision:.3f} (base rate {rate:.4f})")
    verdict = "champion" if model["gate"]["promoted"] else "NOT promoted"
    lines.append(f"    version {model['model_version']} ({model['chosen']}): {verdict}. {model['gate']['reason']}")
    if model["left_out"]:
        lines.append(f"    {len(model['left_out'])} features say nothing here and were left out (train.json says why)")
    lines += _worth(model["evaluation"])
    lines += [f"    WARNING: {warning}" for warning in model["warnings"]]
    return [*lines, *(f"    note: {note}" for note in model["notes"]), f"    card: {model['card']}"]


def _worth(evaluation: dict[str, Any]) -> list[str]:
    money = evaluation["money"]
    lines = [
        f"    saves {money['saved_cents'] / 100:,.0f} with {money['alerts']:,} alerts, "
        f"{money['share_of_oracle']:.0%} of what an oracle would"
    ]
    for cards in evaluation["card_precision"]:
        lines.append(
            f"    of the {cards['cards']} riskiest users a day {cards['precision']:.3f} have a fraud "
            f"(perfect {cards['perfect']:.3f}, chance {cards['random']:.3f})"
        )
    return lines
