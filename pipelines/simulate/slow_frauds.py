"""Frauds that no burst gives away: merchants gone bad, cards copied abroad, numbers leaked to the net.

Only what was reported on a merchant, where a user was before, or what a user usually pays tells them from honest payments.
"""

import numpy as np
import pandas as pd
from numpy.random import Generator

from pipelines.simulate import everyday
from pipelines.simulate.scenarios import BAD_TERMINAL, COLLUSION, IMPOSSIBLE_TRAVEL, LEAKED_CARD
from pipelines.simulate.world import COUNTRIES, DAY_US, World

PER_USER_DAY = 1 / 3_000 / 120
COLLUDING, TERMINALS, TRAVELLERS, LEAKED = 22, 60, 160, 60
"""How many of each in a world of 3,000 users and 120 days; others in proportion."""

LEAKED_PAYMENTS = (20, 40)
"""Least and most (open) payments with one leaked number; with a dozen in a fortnight nothing tells them from honest ones."""
LEAKED_TIMES = (1.5, 2.5)
"""Times an everyday amount: with 3 to 6 the amount alone, without any history, finds more than 0.15 of average precision."""


def turn_merchants(rng: Generator, world: World, events: pd.DataFrame, since_us: int, days: int) -> None:
    """Mark payments at bad merchants as frauds, in place: the customer's card is charged twice or for nothing.

    Colluding merchants are busy ones that cheat on six payments in ten for 21 to 35 days, amounts 1 to 1.3 times as large;
    bad terminals are at ordinary merchants, where every payment of 28 days is copied.
    """
    busiest = np.argsort(-np.bincount(events["merchant"].to_numpy().clip(0), minlength=len(world.merchant_country)))
    share = world.users * days * PER_USER_DAY
    turned = rng.choice(busiest[len(busiest) // 60 : len(busiest) // 4], _count(COLLUDING * share), replace=False)
    for merchant in turned:
        _turn(rng, events, int(merchant), COLLUSION, since_us, days, rng.uniform(21, 35), 0.6)
    for merchant in rng.choice(busiest[len(busiest) // 4 :], _count(TERMINALS * share), replace=False):
        _turn(rng, events, int(merchant), BAD_TERMINAL, since_us, days, 28.0, 1.0)


def lone_frauds(rng: Generator, world: World, honest: pd.DataFrame, since_us: int, days: int) -> pd.DataFrame:
    """Copied cards used abroad 1 to 4 h after a payment at home, and leaked numbers used for a fortnight: an event frame."""
    share = world.users * days * PER_USER_DAY
    travelled = _impossible_travel(rng, world, honest, _count(TRAVELLERS * share))
    leaked = _leaked_cards(rng, world, since_us, days, _count(LEAKED * share))
    return pd.concat([travelled, leaked], ignore_index=True).assign(event_type="payment", device=0)


def _count(expected: float) -> int:
    return max(1, round(expected))


def _turn(
    rng: Generator, events: pd.DataFrame, merchant: int, scenario: str, since_us: int, days: int, lasts: float, share: float
) -> None:
    begin = since_us + int(rng.uniform(0, max(days - lasts / 2, 1)) * DAY_US)
    at = events["t_us"].to_numpy()
    there = (events["merchant"].to_numpy() == merchant) & (events["event_type"] == "payment").to_numpy()
    rows = np.flatnonzero(there & (at >= begin) & (at < begin + lasts * DAY_US))
    rows = rows[rng.random(len(rows)) < share]
    events.loc[rows, "scenario"] = scenario
    dearer = events.loc[rows, "amount_cents"] * (rng.uniform(1.0, 1.3, len(rows)) if scenario == COLLUSION else 1.0)
    events.loc[rows, "amount_cents"] = dearer.round().astype(np.int64)


def _impossible_travel(rng: Generator, world: World, honest: pd.DataFrame, count: int) -> pd.DataFrame:
    is_away = world.is_away(honest["user"].to_numpy(), honest["t_us"].to_numpy())
    home = honest[(honest["event_type"] == "payment") & ~is_away]
    seen = home.iloc[rng.integers(0, len(home), count)]
    sizes = rng.integers(2, 5, count)
    user, after = np.repeat(seen["user"].to_numpy(), sizes), np.repeat(seen["t_us"].to_numpy(), sizes)
    start = np.repeat(rng.uniform(1, 4, count), sizes) + rng.uniform(0, 1.5, len(user))
    abroad = (world.user_country[user] + np.repeat(rng.integers(1, len(COUNTRIES), count), sizes)) % len(COUNTRIES)
    merchant = world.pick_merchants(rng, abroad)
    cents = everyday.amounts(rng, world, user, merchant)
    t_us = after + (start * everyday.HOUR_US).astype(np.int64)
    return pd.DataFrame(
        {"user": user, "t_us": t_us, "merchant": merchant, "amount_cents": cents, "scenario": IMPOSSIBLE_TRAVEL}
    )


def _leaked_cards(rng: Generator, world: World, since_us: int, days: int, count: int) -> pd.DataFrame:
    victim = rng.integers(0, world.users, count)
    sizes = rng.integers(*LEAKED_PAYMENTS, count)
    begin = np.repeat(rng.uniform(0, max(days - 7, 1), count), sizes)
    user = np.repeat(victim, sizes)
    day = np.minimum(begin + rng.uniform(0, min(14, days), len(user)), days).astype(np.int64)
    own = world.favourites[user, (world.favourites_count[user] * rng.random(len(user))).astype(np.int64)]
    merchant = np.where(rng.random(len(user)) < 0.5, own, world.pick_merchants(rng, world.user_country[user]))
    cents = (everyday.amounts(rng, world, user, merchant) * rng.uniform(*LEAKED_TIMES, len(user))).round().astype(np.int64)
    t_us = since_us + day * DAY_US + everyday.times(rng, world, user, 0, 1)
    return pd.DataFrame({"user": user, "t_us": t_us, "merchant": merchant, "amount_cents": cents, "scenario": LEAKED_CARD})
