"""python -m pipelines.simulate.shop.fit SAMPLE.csv.gz AGGREGATES.json: write population.json, what the shop is made from.

Counts, hours and quantiles are of the whole population (the aggregates); prices, brands and seconds between two events of a
session are of the sample, which covers less than three hours and says nothing about hours. The package carries the result.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

PLACE = Path(__file__).with_name("population.json")
SOURCE = "REES46 Marketing Platform, eCommerce behavior data from multi category store (Kaggle, mkechinov); https://rees46.com"
LEVELS = [0, 0.02, 0.05, *np.round(np.arange(0.1, 0.95, 0.05), 2).tolist(), 0.95, 0.98, 1]
SECOND_LEVELS = [0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98]
OWN_QUANTILES = 60
POPULAR = 6
"""Rows of the sample from which on a product counts as one that everybody looks at."""

BRANDS = 12


def population(sample: pd.DataFrame, aggregates: dict[str, Any]) -> dict[str, Any]:
    """The parameters of the shop as JSON; see catalog.py and visits.py for what each is for."""
    hours = np.array([aggregates["hourly_utc_views_carts_purchases"][str(hour)] for hour in range(24)])
    seven = aggregates["seven_months"]
    between = sample.sort_values(["user_session", "at"], kind="stable").groupby("user_session")["at"].diff().dt.total_seconds()
    return {
        "source": SOURCE,
        "event_mix": {name[:-1]: aggregates[name] / aggregates["rows"] for name in ("views", "carts", "purchases")},
        "null_category": aggregates["null_category_code"] / aggregates["rows"],
        "null_brand": aggregates["null_brand"] / aggregates["rows"],
        "products": aggregates["products"],
        "hours": {"views": hours[:, 0].tolist(), "purchases": hours[:, 2].tolist()},
        "transitions": aggregates["transitions"],
        "purchases_per_buyer": list(aggregates["purchases_per_buyer_2mo"].values()),
        "buyers": aggregates["user_funnel"]["purchased"] / aggregates["users"],
        "events_per_user": _levels(seven["events_per_user_q"]),
        "session_size": _levels(seven["session_size_q"]),
        "gap_hours": _levels(seven["gap_hours_between_sessions_q"]),
        "seconds_between": [SECOND_LEVELS, between.dropna().quantile(SECOND_LEVELS).tolist()],
        "categories": _categories(sample, aggregates),
    }


def _levels(quantiles: dict[str, float]) -> list[list[float]]:
    """[levels], [values]."""
    return [[float(level) for level in quantiles], [float(value) for value in quantiles.values()]]


def _categories(sample: pd.DataFrame, aggregates: dict[str, Any]) -> list[dict[str, Any]]:
    """Every code of the sample: counts of the population where it is among the largest, its share of the rest elsewhere."""
    known = {entry["category_code"]: entry for entry in aggregates["categories_top"]}
    sizes = sample["category_code"].value_counts()
    null_events = aggregates["null_category_code"]
    rest = {kind: aggregates[kind] - sum(entry[kind] for entry in known.values()) for kind in ("views", "carts", "purchases")}
    unknown = sizes[~sizes.index.isin([*known, ""])]
    rest_events = aggregates["rows"] - null_events - sum(sum(e[k] for k in rest) for e in known.values())
    weights = {"": null_events, **(unknown / unknown.sum() * rest_events).to_dict()}
    found = []
    for code, rows in sample.groupby("category_code"):
        share = weights.get(code, 0) / sum(weights.values())
        counts = {kind: known[code][kind] if code in known else rest[kind] * share for kind in rest}
        found.append({"code": code, **{kind: round(count) for kind, count in counts.items()}, **_goods(rows)})
    return found


def _goods(rows: pd.DataFrame) -> dict[str, Any]:
    """Price and share of events of each popular product; of the others log prices (their quantiles, or mean and deviation of
    a small sample); the share without a brand, the first brands."""
    product = rows.groupby("product_id")["price"].agg(["first", "size"]).sort_values(["size", "first"], ascending=False)
    popular = product[(product["size"] >= POPULAR) & (product["first"] > 0)]
    others = rows[~rows["product_id"].isin(popular.index)]
    logs = np.log((others if (others["price"] > 0).any() else rows).query("price > 0")["price"])
    brands = rows["brand"].value_counts()
    enough = len(logs) >= OWN_QUANTILES
    return {
        "popular": [[price, round(size / len(rows), 5)] for price, size in popular.to_numpy().tolist()],
        "log_price": logs.quantile(LEVELS).round(4).tolist() if enough else [],
        "normal": [round(float(logs.mean()), 4), round(float(logs.std(ddof=0)), 4)],
        "null_brand": round(float(rows["brand"].isna().mean()), 4),
        "brands": {str(name): round(float(count / brands.sum()), 4) for name, count in brands.head(BRANDS).items()},
    }


def read_sample(path: Path) -> pd.DataFrame:
    """The sample's rows with `at` as a timestamp; a missing category is ""."""
    rows = pd.read_csv(path)
    return rows.assign(at=pd.to_datetime(rows["event_time"].str[:19]), category_code=rows["category_code"].fillna(""))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipelines.simulate.shop.fit", description=__doc__)
    parser.add_argument("sample", type=Path)
    parser.add_argument("aggregates", type=Path)
    given = parser.parse_args()
    found = population(read_sample(given.sample), json.loads(given.aggregates.read_text(encoding="utf-8")))
    PLACE.write_text(json.dumps(found, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"wrote {PLACE} ({PLACE.stat().st_size / 1e3:.0f} kB, {len(found['categories'])} categories)")


if __name__ == "__main__":
    main()
