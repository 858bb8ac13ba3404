"""python -m pipelines.simulate.shop.realism [--sample 2019-Oct.csv.gz]: how far the shop is from the real one, beside limits.

The real one is known by its population's figures (population.json) and, where it is given, by the sample of its first hours.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.simulate.shop.catalog import Catalog
from pipelines.simulate.shop.events import Events, block, catalog_of
from pipelines.simulate.shop.fit import read_sample
from pipelines.simulate.shop.population import figures, quantiles
from pipelines.simulate.shop.steps import CART, PURCHASE, VIEW
from pipelines.simulate.shop.telling import auc_of_telling_apart, same_hours
from pipelines.simulate.shop.visits import DAY_S, HOUR_S, KNOWN_DAYS

USERS_SEVEN_MONTHS, USERS_TWO_MONTHS = 20_000, 40_000
TWO_MONTHS = 61
LEAST_ROWS = 200
SEED = 7


@dataclass(frozen=True)
class Distance:
    """How far one thing is from the real one, and how far it may be."""

    name: str
    found: float
    limit: float

    @property
    def holds(self) -> bool:
        return self.found <= self.limit

    def __str__(self) -> str:
        return f"{self.name:<52} {self.found:8.4f}   at most {self.limit:g}{'' if self.holds else '   TOO FAR'}"


def made(seed: int = SEED) -> tuple[Catalog, Events, Events]:
    """The shop's goods, seven months of some users and two months of others."""
    catalog = catalog_of(seed)
    seven = block(catalog, seed, 0, USERS_SEVEN_MONTHS, KNOWN_DAYS)
    return catalog, seven, block(catalog, seed, 1, USERS_TWO_MONTHS, TWO_MONTHS)


def from_population(catalog: Catalog, seven: Events, two: Events) -> Iterator[Distance]:
    """Every distance that needs the population's figures only."""
    mix = np.bincount(two.kind, minlength=3) / len(two.kind)
    for kind, name, limit in ((VIEW, "view", 0.005), (CART, "cart", 0.003), (PURCHASE, "purchase", 0.003)):
        yield Distance(f"share of {name} events", abs(mix[kind] - figures()["event_mix"][name]), limit)
    for name, column in (("null_category", "category_code"), ("null_brand", "brand")):
        null = np.asarray(catalog.rows[column].is_null())[two.product].mean()
        yield Distance(f"share of {name.replace('_', ' ')}", abs(float(null) - figures()[name]), 0.01)
    yield Distance("events a user, deciles to p99, ratio", _worst_ratio("events_per_user", np.bincount(seven.user), 0.99), 0.2)
    yield Distance("session size, p50 to p99, ratio", _worst_ratio("session_size", np.bincount(seven.session), 0.99), 0.2)
    yield Distance("hours between sessions, greatest distance of CDFs", _gap_distance(seven), 0.05)
    hour = (two.at_s // HOUR_S).astype(np.int64) % 24
    yield Distance("hours of all events, total variation", _variation(hour, figures()["hours"]["views"]), 0.03)
    bought = np.bincount(two.user[two.kind == PURCHASE])
    real = figures()["purchases_per_buyer"]
    yield Distance(
        "purchases a buyer, total variation", _variation(bought[(bought > 0) & (bought <= len(real))] - 1, real), 0.03
    )


def from_sample(catalog: Catalog, two: Events, sample: pd.DataFrame) -> Iterator[Distance]:
    """Every distance that needs the sample (fit.read_sample)."""
    price = catalog.rows["price"].to_numpy()[two.product]
    code = np.asarray(catalog.rows["category_code"].combine_chunks().fill_null(""), dtype=object)[two.product]
    yield Distance("log price, KS", _ks(sample["price"].to_numpy(), price), 0.05)
    for name, rows in sample.groupby("category_code"):
        if len(rows) >= LEAST_ROWS:
            yield Distance(
                f"log price of {name or 'no category'}, KS", _ks(rows["price"].to_numpy(), price[code == name]), 0.10
            )
    ours, theirs = same_hours(catalog, two, sample)
    shares = [_top_share(rows["product"].to_numpy()) for rows in (ours, theirs)]
    yield Distance("share of the top 1 % of products", abs(shares[0] - shares[1]), 0.05)
    yield Distance("AUC of telling them apart", auc_of_telling_apart(ours, theirs), 0.65)


def _worst_ratio(name: str, counts: np.ndarray, highest: float) -> float:
    known = quantiles(name)
    levels, values = known.levels[known.levels <= highest], known.values[known.levels <= highest]
    return float(np.abs(np.quantile(counts, levels, method="inverted_cdf") / values - 1).max())


def _gap_distance(made: Events) -> float:
    known = quantiles("gap_hours")
    opens = np.flatnonzero(np.diff(made.session, prepend=-1))
    is_next = made.user[opens[1:]] == made.user[opens[:-1]]
    gap_h = (made.at_s[opens[1:]] - made.at_s[opens[1:] - 1])[is_next] / HOUR_S
    below = np.searchsorted(np.sort(gap_h), known.values) / len(gap_h)
    return float(np.abs(below - known.levels).max())


def _variation(found: np.ndarray, real: list[int]) -> float:
    shares = np.bincount(found, minlength=len(real)) / max(len(found), 1)
    return float(np.abs(shares - np.array(real) / sum(real)).sum() / 2)


def _ks(real: np.ndarray, found: np.ndarray) -> float:
    """Greatest distance of the two distributions of positive prices."""
    one, two = np.sort(real[real > 0]), np.sort(found[found > 0])
    at = np.concatenate([one, two])
    return float(np.abs(np.searchsorted(one, at, "right") / len(one) - np.searchsorted(two, at, "right") / len(two)).max())


def _top_share(product: np.ndarray) -> float:
    counts = np.sort(np.unique(product, return_counts=True)[1])[::-1]
    return float(counts[: int(np.ceil(len(counts) / 100))].sum() / counts.sum())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipelines.simulate.shop.realism", description=__doc__)
    parser.add_argument("--sample", type=Path, help="the first hours of 2019-Oct.csv, REES46 format")
    given = parser.parse_args()
    catalog, seven, two = made()
    print(f"{len(seven.at_s):,} events of {KNOWN_DAYS} days, {len(two.at_s):,} of {TWO_MONTHS} ({two.at_s.max() / DAY_S:.0f})")
    distances = list(from_population(catalog, seven, two))
    if given.sample:
        distances += from_sample(catalog, two, read_sample(given.sample))
    print(*distances, sep="\n")


if __name__ == "__main__":
    main()
