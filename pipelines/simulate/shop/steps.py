"""What visitors do in a session: look, put into the cart, buy; which product, and whether it is the one before."""

import numpy as np
from numpy.random import Generator

from pipelines.simulate.shop.catalog import Catalog
from pipelines.simulate.shop.population import figures
from pipelines.simulate.shop.visits import Sessions

VIEW, CART, PURCHASE = 0, 1, 2
SAME_PRODUCT = 0.24
SAME_CATEGORY = 0.7
EAGER_MEAN, EAGER_STD = 1.16, 0.85
"""How readily users buy, log-normal. Above 1, as the chances are of all events and sessions begin with a look."""


def products(rng: Generator, catalog: Catalog, visits: Sessions, kind: np.ndarray) -> np.ndarray:
    """The product of each event (m,): mostly of the session's category, often the one just looked at.

    What is put into a cart or bought after a look is what was looked at.
    """
    events = len(visits.after_s)
    session = np.repeat(np.arange(len(visits.size)), visits.size)
    wanted = catalog.category[catalog.pick(rng.random(len(visits.size)))]
    strays = rng.random(events) >= SAME_CATEGORY
    found = catalog.pick_in(wanted[session], rng.random(events))
    found[strays] = catalog.pick(rng.random(int(strays.sum())))
    again = (rng.random(events) < SAME_PRODUCT) | (kind != VIEW)
    again[visits.begin] = False
    source = np.maximum.accumulate(np.where(again, -1, np.arange(events)))
    return np.asarray(found[source])


def kinds(rng: Generator, visits: Sessions, to_cart: np.ndarray, to_purchase: np.ndarray) -> np.ndarray:
    """VIEW, CART or PURCHASE of each event (m,): a Markov chain in each session, which begins with a look.

    to_cart, to_purchase  (m,) factors on the chances that this event is a cart, or a purchase, after a look
    """
    chance = _chances()
    draw = rng.random(len(visits.after_s))
    kind = np.zeros(len(draw), dtype=np.int8)
    longest_first = np.argsort(-visits.size, kind="stable")
    begin, size = visits.begin[longest_first], visits.size[longest_first]
    for step in range(1, int(size[0])):
        at = begin[: np.searchsorted(-size, -step, side="left")] + step
        before = kind[at - 1]
        cart = np.where(before == VIEW, chance[VIEW, CART] * to_cart[at], chance[before, CART])
        buy = np.where(before == VIEW, chance[VIEW, PURCHASE] * to_purchase[at], chance[before, PURCHASE])
        kind[at] = np.where(draw[at] < buy, PURCHASE, np.where(draw[at] < buy + cart, CART, VIEW))
    return kind


def eagerness(rng: Generator, users: int) -> np.ndarray:
    """How readily each user buys (users,), EAGER_MEAN on average."""
    return EAGER_MEAN * np.exp(rng.normal(-(EAGER_STD**2) / 2, EAGER_STD, users))


def eager_hours() -> np.ndarray:
    """How readily people buy in each hour (24,), 1 on the average of looks."""
    views, purchases = (np.array(figures()["hours"][name], dtype=float) for name in ("views", "purchases"))
    return np.asarray(purchases / views * views.sum() / purchases.sum())


def _chances() -> np.ndarray:
    """(3, 3) chance of the next event's kind after each kind."""
    names = ("view", "cart", "purchase")
    counts = np.array([[figures()["transitions"][f"{before}_{after}"] for after in names] for before in names], dtype=float)
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))
