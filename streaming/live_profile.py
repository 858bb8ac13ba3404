"""Who spends where, as `make data` left it for live traffic, or as the event log shows it."""

import json
import math
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from feature_repo.settings import Settings

ROWS_READ = 50_000
SCENARIOS = {
    "card_testing": {
        "payments": [5, 18],
        "within_seconds": [300, 3600],
        "amount_cents": [50, 400],
        "then_payments": [1, 2],
        "then_amount_factor": [2.0, 6.0],
    },
    "account_takeover": {"payments": [3, 8], "within_seconds": [7200, 129600], "amount_factor": [1.0, 1.8]},
}
_SHAPE = ("user_id", "merchant_id", "device_id", "event_type", "category", "channel", "country", "amount_cents")


class NobodyKnown(RuntimeError):
    """There is neither a live profile nor an event log to take users from."""


def load_profile(settings: Settings) -> dict[str, Any]:
    """The profile of $DATA_DIR/simulator/live.json, else one drawn from the log's first rows.

    Keys: users (user_id, weight, country, devices, merchants, amount_factor), merchants (by id), categories (by name,
    "" for all together), channels, event_mix, scenarios. Raises NobodyKnown.
    """
    path = settings.data_dir / "simulator" / "live.json"
    if path.exists():
        profile: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return profile
    return profile_of_log(settings.transactions_path)


def profile_of_log(log: Path) -> dict[str, Any]:
    """The same shape as live.json from an event log; raises NobodyKnown when it is missing or empty."""
    files = sorted(log.glob("event_date=*/*.parquet"), reverse=True)
    rows = pads.dataset(files, format="parquet").head(ROWS_READ, columns=list(_SHAPE)) if files else None
    if rows is None or not rows.num_rows:
        raise NobodyKnown(f"There are no users to send events for: {log} holds no events. Run `make data`.")
    events = rows.to_pylist()
    merchants = {
        row["merchant_id"]: {name: row[name] for name in ("category", "country", "channel")}
        for row in events
        if row["merchant_id"] is not None
    }
    spent = Counter(row["merchant_id"] for row in events)
    return {
        "event_mix": _shares(Counter(row["event_type"] for row in events)),
        "channels": _shares(Counter(row["channel"] for row in events if row["channel"] is not None)),
        "categories": _amounts(rows),
        "merchants": {name: {**merchant, "weight": spent[name] / len(events)} for name, merchant in merchants.items()},
        "users": _users(events),
        "scenarios": SCENARIOS,
    }


def _users(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    of_user: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in events:
        of_user[row["user_id"]].append(row)
    return [
        {
            "user_id": user_id,
            "weight": len(rows) / len(events),
            "country": rows[0]["country"],
            "devices": sorted({row["device_id"] for row in rows if row["device_id"] is not None}),
            "merchants": [m for m, _ in Counter(row["merchant_id"] for row in rows if row["merchant_id"]).most_common()],
            "amount_factor": 1.0,
        }
        for user_id, rows in of_user.items()
        if user_id is not None
    ]


def _shares(counts: Counter[str]) -> dict[str, float]:
    return {name: count / counts.total() for name, count in counts.items()}


def _amounts(rows: pa.Table) -> dict[str, dict[str, float]]:
    """Mean and spread of the logarithm of the amounts, per category and ("") of all together."""
    paid = rows.filter(pc.greater(pc.fill_null(rows["amount_cents"], 0), 0))
    logs = paid.append_column("log_cents", pc.ln(paid["amount_cents"]))
    by_category = logs.group_by("category").aggregate([("log_cents", "mean"), ("log_cents", "stddev")]).to_pylist()
    found = {row["category"]: (row["log_cents_mean"], row["log_cents_stddev"]) for row in by_category if row["category"]}
    mean, std = pc.mean(logs["log_cents"]).as_py(), pc.stddev(logs["log_cents"]).as_py()
    found[""] = (math.log(1_000) if mean is None else mean, std or 0.0)
    return {name: {"log_cents_mean": mean, "log_cents_std": std} for name, (mean, std) in found.items()}
