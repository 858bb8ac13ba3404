"""What a score is worth to those who use it: money saved, cards worth a look each day, frauds found by scenario and group."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve

CARDS_A_DAY = (25, 50, 100)
DAY_US = 86_400_000_000


def money_saved(flagged: np.ndarray, loss_cents: np.ndarray, alert_cents: float) -> dict[str, float]:
    """Losses stopped minus what the alerts cost, beside an oracle's, which flags exactly the frauds worth an alert.

    flagged (n,) bool; loss_cents (n,) what approving the row costs, 0 where honest; alert_cents of one alert. All cents.
    """
    saved = float(loss_cents[flagged].sum() - alert_cents * flagged.sum())
    oracle = float(np.maximum(loss_cents - alert_cents, 0).sum())
    return {
        "alerts": int(flagged.sum()),
        "alert_cents": float(alert_cents),
        "saved_cents": saved,
        "oracle_cents": oracle,
        "share_of_oracle": saved / oracle if oracle > 0 else 0.0,
    }


def card_precision(
    user_id: np.ndarray, time_us: np.ndarray, fraud: np.ndarray, score: np.ndarray, cards: Sequence[int] = CARDS_A_DAY
) -> list[dict[str, float]]:
    """Of the k users with the highest score of a day (UTC), the share with a fraud that day; the mean over days.

    perfect is what a perfect scorer reaches, less than 1 on days with fewer than k frauds; random what chance does. Days
    with no more than k users say nothing about a choice and are left out; so is a k without any day.
    """
    daily = pd.DataFrame({"day": time_us // DAY_US, "user": user_id, "fraud": fraud, "score": score}).dropna(subset="user")
    daily = daily.groupby(["day", "user"], sort=True).max().reset_index()
    found = []
    for k in cards:
        days = [day for _, day in daily.groupby("day") if len(day) > k]
        if days:
            tops = [day.nlargest(k, "score")["fraud"].mean() for day in days]
            best = [min(day["fraud"].sum(), k) / k for day in days]
            chance = [day["fraud"].mean() for day in days]
            means = {"precision": float(np.mean(tops)), "perfect": float(np.mean(best)), "random": float(np.mean(chance))}
            found.append({"cards": k, "days": len(days), **means})
    return found


def recall_by_scenario(
    fraud: np.ndarray, score: np.ndarray, scenario: np.ndarray, rate: float = 0.005
) -> dict[str, dict[str, float]]:
    """Of the frauds of each scenario the share found while at most `rate` of the honest rows is flagged.

    scenario (n,) text or None; what a simulator knows and no feature may read. `unknown` are frauds without one.
    """
    false_positive_rate, _, thresholds = roc_curve(fraud, score)
    threshold = thresholds[false_positive_rate <= rate].min()
    names = np.where(pd.isna(scenario), "unknown", scenario).astype(str)
    found: dict[str, dict[str, float]] = {}
    for name in sorted(set(names[fraud == 1])):
        rows = (fraud == 1) & (names == name)
        found[name] = {"frauds": int(rows.sum()), "recall": float((score[rows] >= threshold).mean())}
    return found


def by_group(fraud: np.ndarray, refused: np.ndarray, group: np.ndarray) -> dict[str, dict[str, float]]:
    """Whether people are treated alike: of each group its base rate, the share refused, of the good ones and of the bad.

    refused (n,) bool; group (n,) text. A share of nobody is NaN-free: 0 with 0 rows.
    """
    found = {}
    for name in sorted(set(group)):
        rows = group == name
        good, bad = rows & (fraud == 0), rows & (fraud == 1)
        found[str(name)] = {
            "rows": int(rows.sum()),
            "base_rate": float(fraud[rows].mean()),
            "refused": float(refused[rows].mean()),
            "good_refused": float(refused[good].mean()) if good.any() else 0.0,
            "bad_refused": float(refused[bad].mean()) if bad.any() else 0.0,
        }
    return found


def worth(tested: Mapping[str, Any], score: np.ndarray, flagged: np.ndarray, alert_cents: float) -> dict[str, Any]:
    """Everything above about one model's test rows; `tested` as pipelines.training.tested gives it."""
    fraud = tested["fraud"]
    told: dict[str, Any] = {"money": money_saved(flagged, tested["loss_cents"], alert_cents)}
    told["card_precision"] = card_precision(tested["user_id"], tested["time_us"], fraud, score)
    if tested["scenario"] is not None:
        told["recall_by_scenario"] = recall_by_scenario(fraud, score, tested["scenario"])
    return told
