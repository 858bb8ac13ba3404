"""Who lives in the simulated world: users with habits and devices, merchants with prices, five countries."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

COUNTRIES = np.array(["DE", "FR", "NL", "PL", "NO"])
COUNTRY_SHARES = np.array([0.4, 0.22, 0.16, 0.14, 0.08])

CATEGORIES = np.array(
    [
        "grocery",
        "restaurant",
        "fuel",
        "transit",
        "parking",
        "digital",
        "fashion",
        "electronics",
        "pharmacy",
        "travel",
        "home",
        "leisure",
    ]
)
CATEGORY_SHARES = np.array([0.24, 0.15, 0.07, 0.10, 0.05, 0.09, 0.08, 0.05, 0.06, 0.03, 0.04, 0.04])
LOG_CENTS_MEAN = np.log(100 * np.array([28, 22, 48, 2.6, 2.2, 3.2, 45, 110, 14, 190, 60, 18]))
LOG_CENTS_STD = np.array([0.75, 0.7, 0.45, 0.45, 0.5, 0.8, 0.7, 0.95, 0.7, 0.8, 0.9, 0.8])
ONLINE_SHARES = np.array([0.1, 0.15, 0.0, 0.3, 0.35, 1.0, 0.6, 0.6, 0.2, 0.8, 0.5, 0.45])
HOLD_SHARES = np.array([0, 0, 0.35, 0, 0, 0, 0, 0, 0, 0.4, 0, 0.0])
"""Shares and prices are invented, of the order of everyday ones."""

DAY_US = 86_400_000_000
FAVOURITES_MAX = 30
DEVICES_A_USER = 3


@dataclass(frozen=True)
class World:
    """n users and m merchants as arrays; countries and categories are indices.

    amount_factor    (n,) multiplies a merchant's typical amount
    payments_a_day   (n,) mean number of payments
    hour_shift       (n,) personal hours relative to the common daily curve
    favourites       (n, 30) merchant indices, the first favourites_count of each row are meant
    device_count     (n,) devices in use: 1 or 2; device 2 replaces device 0 at device_change_us (int64 maximum: never)
    trip_*           (n,) one user in seven is in trip_country from trip_since_us until trip_until_us (else both are 0)
    log_cents_*      (m,) of a merchant's amounts
    merchant_weight  (m,) popularity within its country, sums to 1 a country
    """

    user_country: np.ndarray
    payments_a_day: np.ndarray
    amount_factor: np.ndarray
    hour_shift: np.ndarray
    favourites: np.ndarray
    favourites_count: np.ndarray
    device_count: np.ndarray
    device_change_us: np.ndarray
    trip_country: np.ndarray
    trip_since_us: np.ndarray
    trip_until_us: np.ndarray
    income_cents: np.ndarray
    credit_score: np.ndarray
    age: np.ndarray
    account_age_days: np.ndarray
    merchant_country: np.ndarray
    merchant_category: np.ndarray
    merchant_weight: np.ndarray
    log_cents_mean: np.ndarray
    log_cents_std: np.ndarray

    @property
    def users(self) -> int:
        return len(self.user_country)

    def is_away(self, user: np.ndarray, t_us: np.ndarray) -> np.ndarray:
        """Whether each user is on a trip at an instant."""
        return (t_us >= self.trip_since_us[user]) & (t_us < self.trip_until_us[user])

    def country_of(self, user: np.ndarray, t_us: np.ndarray) -> np.ndarray:
        """The country in which each user is at an instant."""
        return np.where(self.is_away(user, t_us), self.trip_country[user], self.user_country[user])

    def merchants_of(self, country: int) -> np.ndarray:
        return np.flatnonzero(self.merchant_country == country)

    def pick_merchants(self, rng: Generator, countries: np.ndarray) -> np.ndarray:
        """One merchant for each entry of `countries`, popular ones more often."""
        picked = np.empty(len(countries), dtype=np.int64)
        for country in np.unique(countries):
            here = countries == country
            own = self.merchants_of(country)
            picked[here] = rng.choice(own, here.sum(), p=self.merchant_weight[own])
        return picked


def make_world(rng: Generator, users: int, merchants: int, since_us: int, until_us: int) -> World:
    """A world of `users` and `merchants` living between two instants (microseconds since the epoch)."""
    category = rng.choice(len(CATEGORIES), merchants, p=CATEGORY_SHARES / CATEGORY_SHARES.sum())
    country = np.concatenate(
        [np.arange(len(COUNTRIES)), rng.choice(len(COUNTRIES), merchants - len(COUNTRIES), p=COUNTRY_SHARES)]
    )
    user_country = rng.choice(len(COUNTRIES), users, p=COUNTRY_SHARES)
    income = np.exp(rng.normal(np.log(250_000), 0.45, users))
    changes = rng.random(users) < 0.25
    travels = rng.random(users) < 0.15
    trip_since_us = rng.integers(since_us, until_us, users)
    trip_us = rng.integers(3, 11, users) * DAY_US
    world = World(
        user_country=user_country,
        payments_a_day=np.exp(rng.normal(np.log(0.55), 0.95, users)).clip(0.02, 12),
        amount_factor=np.exp(rng.normal(0, 0.28, users) + 0.25 * np.log(income / 250_000)),
        hour_shift=rng.normal(0, 2.5, users),
        favourites=np.zeros((users, FAVOURITES_MAX), dtype=np.int64),
        favourites_count=rng.integers(8, FAVOURITES_MAX + 1, users),
        device_count=rng.integers(1, 3, users),
        device_change_us=np.where(changes, rng.integers(since_us, until_us, users), np.iinfo(np.int64).max),
        trip_country=(user_country + rng.integers(1, len(COUNTRIES), users)) % len(COUNTRIES),
        trip_since_us=np.where(travels, trip_since_us, 0),
        trip_until_us=np.where(travels, trip_since_us + trip_us, 0),
        income_cents=(income // 1000 * 1000).astype(np.int64),
        credit_score=rng.normal(680, 70, users).clip(300, 850).astype(np.int64),
        age=rng.normal(41, 14, users).clip(18, 90).astype(np.int64),
        account_age_days=rng.integers(5, 3000, users),
        merchant_country=country,
        merchant_category=category,
        merchant_weight=_popularity(rng, country),
        log_cents_mean=LOG_CENTS_MEAN[category] + rng.normal(0, 0.25, merchants),
        log_cents_std=LOG_CENTS_STD[category],
    )
    abroad = rng.random((users, FAVOURITES_MAX)) < 0.1
    homes = np.where(abroad, rng.choice(len(COUNTRIES), abroad.shape, p=COUNTRY_SHARES), user_country[:, None])
    world.favourites[:] = world.pick_merchants(rng, homes.ravel()).reshape(homes.shape)
    return world


def _popularity(rng: Generator, country: np.ndarray) -> np.ndarray:
    """Zipf with exponent 0.9 within each country."""
    weight = np.zeros(len(country))
    for one in np.unique(country):
        here = np.flatnonzero(country == one)
        ranks = rng.permutation(len(here)) + 1
        weight[here] = ranks**-0.9 / (ranks**-0.9).sum()
    return weight
