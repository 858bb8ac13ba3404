"""All events of a block of users, drawn from the block's own seed: the same whatever other blocks are made."""

from dataclasses import dataclass

import numpy as np

from pipelines.simulate.shop import steps, visits
from pipelines.simulate.shop.catalog import Catalog, make_catalog

BLOCK_USERS = 20_000
CATALOG = 0


@dataclass(frozen=True)
class Events:
    """m events in order of user and session: seconds after the world's beginning, kind, product, user, session."""

    at_s: np.ndarray
    kind: np.ndarray
    product: np.ndarray
    user: np.ndarray
    session: np.ndarray


def catalog_of(seed: int) -> Catalog:
    """What every user of the world of this seed can look at."""
    return make_catalog(np.random.default_rng([seed, CATALOG]))


def block(catalog: Catalog, seed: int, number: int, users: int, days: int) -> Events:
    """The events of block `number` (from 0) of a world, of `users` users numbered from 0 within it."""
    rng = np.random.default_rng([seed, 1 + number])
    came = visits.sessions_of(rng, users, days)
    session = np.repeat(np.arange(len(came.size)), came.size)
    user = came.user[session]
    at_s = came.start_s[session] + came.after_s
    eager = (steps.eagerness(rng, users)[user]) * steps.eager_hours()[(at_s // visits.HOUR_S).astype(np.int64) % 24]
    looked = steps.products(rng, catalog, came, np.zeros(len(at_s), dtype=np.int8))
    category = catalog.category[looked]
    kind = steps.kinds(rng, came, eager * catalog.to_cart[category], eager * catalog.to_purchase[category])
    before = np.maximum.accumulate(np.where(kind == steps.VIEW, np.arange(len(kind)), -1))
    return Events(at_s, kind, looked[before], user, session)
