"""What happens around the users: rates, exchange rates and promotion days, a rise of incomes, and logs that break.

The drift and the breaks are there to be found: by the checks of a load, in the data docs. Days count from the world's first.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.random import Generator

LEAST_DAYS = 21
"""Shorter worlds have no drift and no breaks: nothing could be told from them."""

RISE_FROM, RISE = 0.6, 1.2
"""From this share of the days on all incomes are so many times what they were."""

SILENT_AT, SILENT_DAYS = 0.4, 2
"""From this share of the world on no payment is logged, while everything else is (as on REES46's 15 November 2019). Two days,
so that one is whole in whatever time zone, and after the log was moved to now."""

REPEATED_FROM, REPEATED_UNTIL, REPEATED_TIMES = 0.2, 0.3, 4
"""Between these shares each hold is logged four times (as REES46's carts from 8 November 2019)."""

PROMOTION_EVERY_DAYS, PROMOTION_DAYS, PROMOTION_VOLUME = 30, 2, 1.5
JUMP_SHARE, JUMP_STD = 0.03, 0.08


@dataclass(frozen=True)
class Surroundings:
    """One value a day (days,): policy_rate in per cent a year, a euro in dollars to the cent, a coin in dollars to the
    thousand, is_promotion 1 or 0."""

    policy_rate: np.ndarray
    eur_usd: np.ndarray
    crypto_usd: np.ndarray
    is_promotion: np.ndarray


def surroundings(rng: Generator, first_day: int, days: int) -> Surroundings:
    """AR(1) series from a day since the Unix epoch on, the coin's with jumps; nothing depends on frauds or users.

    They are coarse, as prices in the news are: finer ones would name the day, and a model would learn days by heart.
    """
    rate = 3.0 + np.cumsum((rng.random(days) < 1 / 45) * rng.choice([-0.25, 0.25], days))
    dollar = 1.1 * np.exp(_ar1(rng, days, 0.98, 0.004))
    jumps = (rng.random(days) < JUMP_SHARE) * rng.normal(0, JUMP_STD, days)
    coin = 60_000 * np.exp(_ar1(rng, days, 0.99, 0.02) + np.cumsum(jumps))
    return Surroundings(
        rate.clip(0), dollar.round(2), coin.round(-3), is_promotion(first_day + np.arange(days)).astype(np.int64)
    )


def is_promotion(day: np.ndarray) -> np.ndarray:
    """Whether shops promote on each day since the Unix epoch: more is paid then."""
    return day % PROMOTION_EVERY_DAYS >= PROMOTION_EVERY_DAYS - PROMOTION_DAYS


def rise(day: np.ndarray, days: int) -> np.ndarray:
    """By how much incomes are multiplied on each day."""
    return np.where((day >= days * RISE_FROM) & (days >= LEAST_DAYS), RISE, 1.0)


def broken(events: pd.DataFrame, day: np.ndarray, days: int) -> pd.DataFrame:
    """The events (n rows, each on a day (n,)) that were logged: without the silent day's payments, holds repeated."""
    if days < LEAST_DAYS:
        return events
    kind = events["event_type"].to_numpy()
    silent = (kind == "payment") & (day >= int(days * SILENT_AT)) & (day < int(days * SILENT_AT) + SILENT_DAYS)
    repeated = (kind == "hold") & (day >= int(days * REPEATED_FROM)) & (day < int(days * REPEATED_UNTIL))
    times = np.where(silent, 0, np.where(repeated, REPEATED_TIMES, 1))
    return events.loc[events.index.repeat(times)].reset_index(drop=True)


def _ar1(rng: Generator, days: int, kept: float, std: float) -> np.ndarray:
    found = np.zeros(days)
    for day in range(1, days):
        found[day] = kept * found[day - 1] + rng.normal(0, std)
    return found
