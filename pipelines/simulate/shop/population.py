"""The figures that the shop is made from, read once; `fit` writes them from the real sample and its published aggregates."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from pipelines.simulate.shop.fit import LEVELS, PLACE


@dataclass(frozen=True)
class Quantiles:
    """A distribution by its values (k,) at levels (k,) in [0, 1], both ascending, log-linear between them."""

    levels: np.ndarray
    values: np.ndarray

    def at(self, share: np.ndarray) -> np.ndarray:
        return np.exp(np.interp(share, self.levels, np.log(np.maximum(self.values, 0.5))))


@dataclass(frozen=True)
class Category:
    """A category of goods: how often it was looked at, put into a cart and bought, and its goods.

    code        as in category_code; empty for the goods without one
    popular     (price, share of the category's events) of its most popular products; the rest is about the others
    log_price   quantiles of the natural log of prices at fit.LEVELS; without any the log price is `normal` (mean, deviation)
    """

    code: str
    views: int
    carts: int
    purchases: int
    popular: list[tuple[float, float]]
    log_price: list[float]
    normal: tuple[float, float]
    null_brand: float
    brands: dict[str, float]

    def prices(self, share: np.ndarray, deviate: np.ndarray) -> np.ndarray:
        """Prices at uniform shares (n,), or from standard deviates (n,) where the quantiles are not known."""
        mean, deviation = self.normal
        logs = np.interp(share, LEVELS, self.log_price) if self.log_price else mean + deviation * deviate
        return np.round(np.exp(logs), 2)


@cache
def figures() -> dict[str, Any]:
    """The whole of population.json."""
    found: dict[str, Any] = json.loads(PLACE.read_text(encoding="utf-8"))
    return found


@cache
def categories() -> list[Category]:
    return [Category(**{**entry, "normal": tuple(entry["normal"])}) for entry in figures()["categories"]]


def quantiles(name: str) -> Quantiles:
    levels, values = figures()[name]
    return Quantiles(np.array(levels), np.array(values))
