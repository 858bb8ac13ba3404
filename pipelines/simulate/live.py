"""What the live simulation needs to go on from the history: `simulator/live.json`, read by `make produce`.

UTF-8 JSON, amounts in cents, shares sum to 1, absent knowledge is null, [] or {}:

    version, source, generated_at, generation
    event_mix    {event type: share}            channels  {channel: share}; {} where the source has none
    categories   {category: {log_cents_mean, log_cents_std}}; "" is all categories together and always there
    merchants    {merchant_id: {category, country, channel, weight}}, at most 5,000
    users        [{user_id, weight, country, devices, merchants, amount_factor}], at most 5,000, the most active ones;
                 merchants are the user's own, most frequent first, each a key of `merchants`
    label_delay_seconds, fraud_share            of this history; fraud_share counts known labels
    scenarios    {card_testing: {...}, account_takeover: {...}}, ranges [least, most]

An amount is round(exp(normal(log_cents_mean, log_cents_std)) * amount_factor), at least 1.
"""

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from feature_repo.settings import Settings

MOST_USERS = 5_000
MOST_MERCHANTS = 5_000
MOST_EVENTS = 1_000_000
OWN_MERCHANTS = 8
OWN_DEVICES = 3
COLUMNS = [
    "event_id",
    "user_id",
    "merchant_id",
    "device_id",
    "event_type",
    "category",
    "channel",
    "country",
    "amount_cents",
]
DEFAULT_AMOUNTS = {"log_cents_mean": 7.6, "log_cents_std": 1.0}
SCENARIOS = {
    "card_testing": {
        "payments": [5, 18],
        "within_seconds": [300, 3600],
        "amount_cents": [50, 400],
        "then_payments": [1, 2],
        "then_amount_factor": [1.0, 3.0],
    },
    "account_takeover": {"payments": [3, 8], "within_seconds": [7200, 129600], "amount_factor": [1.0, 1.8]},
}


def write_live_artefact(settings: Settings, report: dict[str, Any]) -> None:
    """Write $DATA_DIR/simulator/live.json from the log now in place; `report` is the load's."""
    content = live_artefact(_honest_events(settings), report)
    path = settings.data_dir / "simulator" / "live.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(content))
    unfinished.replace(path)


def live_artefact(events: pd.DataFrame, report: dict[str, Any]) -> dict[str, Any]:
    """The content of live.json, from events with the columns COLUMNS."""
    amounts = events[events["amount_cents"] > 0].assign(log_cents=lambda rows: np.log(rows["amount_cents"]))
    categories = _categories(amounts)
    merchants = _merchants(events)
    labels = report["labels"]
    return {
        "version": 1,
        "source": report["source"],
        "generated_at": report["loaded_at"],
        "generation": report["generation"],
        "event_mix": _shares(events["event_type"]),
        "channels": _shares(events["channel"]),
        "categories": categories,
        "merchants": merchants,
        "users": _users(events, amounts, categories, set(merchants)),
        "label_delay_seconds": report["label_delay_s"] if report["label_delay_s"] is not None else report["gap_s"],
        "fraud_share": labels["known_frauds"] / labels["known"] if labels["known"] else 0.0,
        "scenarios": SCENARIOS,
    }


def _honest_events(settings: Settings) -> pd.DataFrame:
    """The newest days' events, about a million at most, without those of a simulated scenario."""
    days: list[pd.DataFrame] = []
    for folder in sorted(settings.transactions_path.glob("event_date=*"), reverse=True):
        days.append(pads.dataset(sorted(folder.glob("*.parquet"))).to_table(columns=COLUMNS).to_pandas())
        if sum(map(len, days)) > MOST_EVENTS:
            break
    scenario = pq.read_table(settings.data_dir / "scenario", columns=["event_id"])["event_id"].to_pandas()
    events = pd.concat(days, ignore_index=True)
    return events[~events["event_id"].isin(scenario)]


def _shares(values: pd.Series) -> dict[str, float]:
    return {str(name): float(share) for name, share in values.value_counts(normalize=True).sort_index().items()}


def _categories(amounts: pd.DataFrame) -> dict[str, dict[str, float]]:
    known = {
        str(name): {"log_cents_mean": float(logs.mean()), "log_cents_std": float(logs.std())}
        for name, logs in amounts.groupby("category")["log_cents"]
        if len(logs) > 1
    }
    overall = {"log_cents_mean": float(amounts["log_cents"].mean()), "log_cents_std": float(amounts["log_cents"].std())}
    return {**known, "": overall if len(amounts) > 1 else DEFAULT_AMOUNTS}


def _merchants(events: pd.DataFrame) -> dict[str, dict[str, Any]]:
    common = _counts(events["merchant_id"], MOST_MERCHANTS)
    named = events[events["merchant_id"].isin(list(common))]
    facts = named.groupby("merchant_id")[["category", "country", "channel"]].first()
    facts = facts.astype(object).where(facts.notna(), None)
    return {
        name: {**facts.loc[name].to_dict(), "weight": float(count / sum(common.values()))} for name, count in common.items()
    }


def _users(
    events: pd.DataFrame, amounts: pd.DataFrame, categories: dict[str, dict[str, float]], merchants: set[str]
) -> list[dict[str, Any]]:
    common = _counts(events["user_id"], MOST_USERS)
    own = events[events["user_id"].isin(list(common))]
    usual = amounts["category"].map(lambda name: categories.get(name, categories[""])["log_cents_mean"])
    excess = (amounts["log_cents"] - usual).groupby(amounts["user_id"]).agg(["sum", "count"])
    factor = np.exp(excess["sum"] / (excess["count"] + 5)).to_dict()  # drawn towards 1 where a user paid little
    devices = _most_frequent(own[own["channel"].isin(["online", "app"]) | own["channel"].isna()], "device_id", OWN_DEVICES)
    shops = _most_frequent(own[own["merchant_id"].isin(merchants)], "merchant_id", OWN_MERCHANTS)
    country = own.groupby("user_id")["country"].agg(_commonest).to_dict()
    return [
        {
            "user_id": user,
            "weight": float(count / sum(common.values())),
            "country": country[user],
            "devices": devices.get(user, []),
            "merchants": shops.get(user, []),
            "amount_factor": round(float(factor.get(user, 1.0)), 4),
        }
        for user, count in common.items()
    ]


def _counts(values: pd.Series, most: int) -> dict[str, int]:
    return {str(name): int(count) for name, count in values.value_counts().head(most).items()}


def _commonest(values: pd.Series) -> str | None:
    return str(values.mode().iloc[0]) if values.notna().any() else None


def _most_frequent(events: pd.DataFrame, column: str, most: int) -> dict[str, list[str]]:
    counts = events.groupby(["user_id", column]).size().sort_values(ascending=False, kind="stable")
    best = counts.groupby(level="user_id").head(most).reset_index()
    return {user: values.tolist() for user, values in best.groupby("user_id")[column]}
