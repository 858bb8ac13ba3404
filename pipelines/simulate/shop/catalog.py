"""What the shop sells: goods with a category, a brand and a price, some looked at far more often than others."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.random import Generator

from pipelines.simulate.shop.population import Category, categories, figures

POPULARITY = -0.66
"""Exponent of a product's views by its rank within its category, apart from those whose share is known."""

FREE_SHARE = 0.001
FIRST_PRODUCT, FIRST_CATEGORY = 1_000_000, 2_053_013_552_000_000_000


@dataclass(frozen=True)
class Catalog:
    """n products in order of category, c categories.

    category    (n,) index of the product's category
    views_until (n,) shares of all looks up to and with the product, ascending to 1
    begins      (c + 1,) share of looks before each category's first product; the last is 1
    to_cart, to_purchase  (c,) factors on the chance that a look ends in a cart, or in a purchase at once
    rows        the products' columns as REES46 writes them: product_id, category_id, category_code, brand, price
    """

    category: np.ndarray
    views_until: np.ndarray
    begins: np.ndarray
    to_cart: np.ndarray
    to_purchase: np.ndarray
    rows: pa.Table

    def pick(self, share: np.ndarray) -> np.ndarray:
        """The product (m,) at each uniform share of all looks."""
        return np.searchsorted(self.views_until, share, side="right").clip(0, len(self.category) - 1)

    def pick_in(self, category: np.ndarray, share: np.ndarray) -> np.ndarray:
        """The product (m,) at each uniform share of the looks of its category (m,)."""
        begin, end = self.begins[category], self.begins[category + 1]
        return self.pick(begin + share * (end - begin) * (1 - 1e-12))


def make_catalog(rng: Generator) -> Catalog:
    """The shop's goods; the same for the same generator."""
    kinds = categories()
    events = np.array([kind.views + kind.carts + kind.purchases for kind in kinds], dtype=float)
    share = events / events.sum()
    known = [len(kind.popular) for kind in kinds]
    counts = np.maximum((share * figures()["products"]).round().astype(np.int64), np.array(known) + 3)
    weights = [_popularity(rng, kind, count) * part for kind, count, part in zip(kinds, counts, share, strict=True)]
    category = np.repeat(np.arange(len(kinds)), counts)
    made = [_goods(rng, kind, weight) for kind, weight in zip(kinds, weights, strict=True)]
    views_until = np.cumsum(np.concatenate(weights))
    begins = np.append(0.0, np.cumsum([weight.sum() for weight in weights]))
    return Catalog(
        category=category,
        views_until=views_until / begins[-1],
        begins=begins / begins[-1],
        to_cart=_factor([kind.carts for kind in kinds], [kind.views for kind in kinds]),
        to_purchase=_factor([kind.purchases for kind in kinds], [kind.views for kind in kinds]),
        rows=pa.table(
            {
                "product_id": np.arange(len(category)) + FIRST_PRODUCT,
                "category_id": category + FIRST_CATEGORY,
                "category_code": pa.array([kind.code or None for kind in kinds]).take(pa.array(category)).dictionary_encode(),
                "brand": pa.array(np.concatenate([brands for brands, _ in made])).dictionary_encode(),
                "price": np.concatenate([prices for _, prices in made]),
            }
        ),
    )


def _popularity(rng: Generator, kind: Category, count: int) -> np.ndarray:
    """Each product's share of its category's looks: the popular ones first, the others in no order."""
    known = np.array([share for _, share in kind.popular])
    others = (rng.permutation(max(count - len(known), 1)) + 1.0) ** POPULARITY
    return np.append(known, others / others.sum() * (1 - known.sum()))


def _goods(rng: Generator, kind: Category, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brands (None without one) and prices: by looks, not by products, they are distributed as the category's."""
    known = len(kind.popular)
    others = weight[known:] / weight[known:].sum()
    prices = kind.prices(np.cumsum(others) - others / 2, rng.standard_normal(len(others)))
    prices[rng.random(len(others)) < FREE_SHARE] = 0.0
    prices = np.append([price for price, _ in kind.popular], prices)
    names = np.array([*kind.brands, f"other-{kind.code}"], dtype=object)
    shares = np.append(list(kind.brands.values()), 0.0)
    shares[-1] = max(1 - shares.sum(), 1e-9)
    brands = rng.choice(names, len(weight), p=shares / shares.sum())
    brands[rng.random(len(weight)) < kind.null_brand] = None
    return brands, prices


def _factor(part: list[int], whole: list[int]) -> np.ndarray:
    rate = np.array(part) / np.maximum(whole, 1)
    return np.asarray(rate / (sum(part) / sum(whole)))
