"""What honest users do: payments, holds, withdrawals, looks at the balance, and habits that only look like fraud."""

import numpy as np
import pandas as pd
from numpy.random import Generator

from pipelines.simulate.scenarios import ACCOUNT_TAKEOVER, CARD_TESTING, IMPOSSIBLE_TRAVEL, LEAKED_CARD
from pipelines.simulate.surroundings import PROMOTION_VOLUME, is_promotion
from pipelines.simulate.world import (
    CATEGORIES,
    COUNTRIES,
    COUNTRY_SHARES,
    DAY_US,
    DEVICES_A_USER,
    HOLD_SHARES,
    ONLINE_SHARES,
    World,
)

HOUR_US = 3_600_000_000
MINUTE_US = 60_000_000
HOURLY = np.array([2, 1, 1, 1, 1, 2, 4, 7, 9, 8, 8, 10, 12, 10, 8, 8, 9, 11, 12, 10, 7, 5, 4, 3], dtype=float)
WEEKDAYS = np.array([0.96, 0.95, 0.97, 0.98, 1.06, 1.12, 0.96])
MICRO = np.flatnonzero(np.isin(CATEGORIES, ["transit", "parking", "digital"]))
CASH_CENTS = np.array([2_000, 5_000, 10_000, 15_000, 20_000, 30_000])
REMOTE_SHARES = {LEAKED_CARD: 1.0, CARD_TESTING: 0.9, ACCOUNT_TAKEOVER: 0.7}
"""Least share of payments online, by scenario: who stole a number or a password mostly has no card to show."""

VIEWS_A_DAY = 0.45
WITHDRAWALS_A_DAY = 0.05
"""An event frame has the columns user, t_us, event_type, merchant and amount_cents (-1: none), device, scenario."""


def everyday_events(rng: Generator, world: World, since_us: int, until_us: int) -> pd.DataFrame:
    """All honest events in [since_us, until_us), in no order."""
    days = (until_us - since_us) / DAY_US
    payments = _payments(rng, world, since_us, days)
    _travel(rng, world, payments)
    payments = pd.concat([payments, _micro_bursts(rng, world, since_us, days)], ignore_index=True)
    payments["amount_cents"] = amounts(rng, world, payments["user"].to_numpy(), payments["merchant"].to_numpy())
    frames = [
        payments,
        _holds(rng, world, payments),
        _withdrawals(rng, world, since_us, days),
        _views(rng, world, since_us, days),
    ]
    events = pd.concat(frames, ignore_index=True)
    events = events[(events["t_us"] >= since_us) & (events["t_us"] < until_us)].reset_index(drop=True)
    return events.assign(device=devices(rng, world, events), scenario=None)


def amounts(rng: Generator, world: World, user: np.ndarray, merchant: np.ndarray) -> np.ndarray:
    """Cents paid: the merchant's log-normal times the user's factor, at least 1; half of them round prices."""
    logs = rng.normal(world.log_cents_mean[merchant], world.log_cents_std[merchant])
    cents = np.maximum(np.round(np.exp(logs) * world.amount_factor[user]), 1).astype(np.int64)
    is_price = (rng.random(len(cents)) < 0.5) & (cents > 500)
    return np.where(is_price, cents // 100 * 100 + rng.choice([0, 50, 99], len(cents)), cents)


def times(rng: Generator, world: World, user: np.ndarray, since_us: int, days: float) -> np.ndarray:
    """An instant for each user entry: a day by weekday and promotion, an hour by the common curve and the user's own shift."""
    whole_days = int(np.ceil(days))
    date = since_us // DAY_US + np.arange(whole_days)
    weight = WEEKDAYS[(date + 3) % 7] * np.where(is_promotion(date), PROMOTION_VOLUME, 1.0)  # 1970-01-01 was a Thursday
    day = rng.choice(whole_days, len(user), p=weight / weight.sum())
    hour = (rng.choice(24, len(user), p=HOURLY / HOURLY.sum()) + rng.random(len(user)) + world.hour_shift[user]) % 24
    return since_us // DAY_US * DAY_US + day * DAY_US + (hour * HOUR_US).astype(np.int64)


def devices(rng: Generator, world: World, events: pd.DataFrame) -> np.ndarray:
    """Number of the user's own device: 0 or 1, or 2 in the place of 0 once that was replaced."""
    user = events["user"].to_numpy()
    number = (rng.random(len(events)) * world.device_count[user] * 0.75).astype(np.int64)
    replaced = (number == 0) & (events["t_us"].to_numpy() >= world.device_change_us[user])
    return np.where(replaced, DEVICES_A_USER - 1, number)


def _counts(rng: Generator, rate: np.ndarray, days: float) -> np.ndarray:
    """Each user as often as a Poisson count of its rate says."""
    return np.repeat(np.arange(len(rate)), rng.poisson(rate * days))


def _frame(
    user: np.ndarray, t_us: np.ndarray, event_type: str, merchant: np.ndarray | int, cents: np.ndarray | int
) -> pd.DataFrame:
    return pd.DataFrame({"user": user, "t_us": t_us, "event_type": event_type, "merchant": merchant, "amount_cents": cents})


def _payments(rng: Generator, world: World, since_us: int, days: float) -> pd.DataFrame:
    user = _counts(rng, world.payments_a_day, days)
    habit = (world.favourites_count[user] * rng.random(len(user)) ** 2).astype(np.int64)
    merchant = world.favourites[user, habit]
    explores = rng.random(len(user)) < 0.2
    abroad = rng.random(explores.sum()) < 0.12
    countries = np.where(abroad, rng.choice(len(COUNTRIES), len(abroad), p=COUNTRY_SHARES), world.user_country[user[explores]])
    merchant[explores] = world.pick_merchants(rng, countries)
    return _frame(user, times(rng, world, user, since_us, days), "payment", merchant, -1)


def _travel(rng: Generator, world: World, payments: pd.DataFrame) -> None:
    """Who is on a trip pays at merchants there, in place: nearly all of them new to the user."""
    user, t_us = payments["user"].to_numpy(), payments["t_us"].to_numpy()
    away = world.is_away(user, t_us)
    payments.loc[away, "merchant"] = world.pick_merchants(rng, world.trip_country[user[away]])


def _micro_bursts(rng: Generator, world: World, since_us: int, days: float) -> pd.DataFrame:
    """A day in town: several small payments for parking, transport or games within the hour, often at new merchants."""
    starter = _counts(rng, np.minimum(world.payments_a_day, 2) * 0.01, days)
    start_us = times(rng, world, starter, since_us, days)
    sizes = rng.integers(3, 9, len(starter))
    user, start_us = np.repeat(starter, sizes), np.repeat(start_us, sizes)
    merchant = micro_merchants(rng, world, user)
    return _frame(user, start_us + rng.integers(0, HOUR_US, len(user)), "payment", merchant, -1)


def micro_merchants(rng: Generator, world: World, user: np.ndarray) -> np.ndarray:
    """A merchant of small payments in each user's country (any merchant there is none)."""
    merchant = world.pick_merchants(rng, world.user_country[user])
    for _ in range(12):
        wrong = ~np.isin(world.merchant_category[merchant], MICRO)
        merchant[wrong] = world.pick_merchants(rng, world.user_country[user[wrong]])
    return merchant


def _holds(rng: Generator, world: World, payments: pd.DataFrame) -> pd.DataFrame:
    """Fuel and travel reserve an amount first, up to a fifth more than is paid minutes to hours later."""
    share = HOLD_SHARES[world.merchant_category[payments["merchant"].to_numpy()]]
    held = payments[rng.random(len(payments)) < share]
    earlier = (np.exp(rng.normal(np.log(10), 1.2, len(held))) * MINUTE_US).astype(np.int64)
    cents = np.round(held["amount_cents"] * rng.uniform(1.0, 1.2, len(held))).astype(np.int64)
    return held.assign(t_us=held["t_us"] - earlier, event_type="hold", amount_cents=cents)


def _withdrawals(rng: Generator, world: World, since_us: int, days: float) -> pd.DataFrame:
    user = _counts(rng, np.full(world.users, WITHDRAWALS_A_DAY), days)
    return _frame(user, times(rng, world, user, since_us, days), "withdrawal", -1, rng.choice(CASH_CENTS, len(user)))


def _views(rng: Generator, world: World, since_us: int, days: float) -> pd.DataFrame:
    user = _counts(rng, np.full(world.users, VIEWS_A_DAY), days)
    return _frame(user, times(rng, world, user, since_us, days), "view", -1, -1)


def channels(rng: Generator, world: World, events: pd.DataFrame) -> np.ndarray:
    """online, card_present, atm or app, by event type and the merchant's category.

    A card is present where its user is; elsewhere the payment is online, unless the card was copied.
    """
    user, t_us, merchant = (events[name].to_numpy() for name in ("user", "t_us", "merchant"))
    is_elsewhere = (merchant >= 0) & (world.merchant_country[merchant] != world.country_of(user, t_us))
    share = np.where(is_elsewhere, 1.0, ONLINE_SHARES[world.merchant_category[merchant]])
    for scenario, least in REMOTE_SHARES.items():
        share = np.where(events["scenario"] == scenario, np.maximum(share, least), share)
    share = np.where(events["scenario"] == IMPOSSIBLE_TRAVEL, 0.0, share)
    paid = np.where(rng.random(len(events)) < share, "online", "card_present")
    kind = events["event_type"].to_numpy()
    return np.where(kind == "view", "app", np.where(kind == "withdrawal", "atm", paid))
