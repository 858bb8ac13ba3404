"""Simulated frauds among somebody's real events, drawn from that source's own users, merchants and amounts.

Every step of an attack, looks at the goods included, is labelled: what is reported is that somebody else was in the
account. Every step of an honest user is labelled honest after the delay. Nothing of this is known to the source.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.random import Generator
from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from pipelines.simulate import reports, scenarios
from pipelines.simulate.history import SEED

LEAST_ATTACKS = 45
FRAUD_SHARE = 0.01
EVENTS_AN_ATTACK = 17
USERS_SAMPLED = 50_000
EVENTS_SAMPLED = 20_000
MERCHANTS_SAMPLED = 1_000
SECOND_US = 1_000_000
SHORTEST_US = 600 * SECOND_US
MOST_LOOKS = 3
"""Before each purchase of an attack; honest users of such sources look a lot too."""


@dataclass(frozen=True)
class Sample:
    """What is drawn from a source, bounded whatever its size; each frame in an order that only depends on the events.

    users      user_id, events
    merchants  merchant_id, category, channel, country, mean and std of log cents, events
    t_us       instants of events
    The others are of the whole source: how many events, whether devices and cash machines occur.
    """

    users: pd.DataFrame
    merchants: pd.DataFrame
    t_us: np.ndarray
    events: int
    has_devices: bool
    has_withdrawals: bool


def sample(kept: DataFrame) -> Sample:
    """Draw the sample from staged rows; deterministic."""
    by_hash = sf.xxhash64("event_id")
    users = kept.groupBy("user_id").agg(sf.count("*").alias("events")).orderBy(sf.xxhash64("user_id")).limit(USERS_SAMPLED)
    log_cents = sf.log(sf.col("amount_cents"))
    merchants = (
        kept.where("merchant_id is not null and amount_cents > 0")
        .groupBy("merchant_id")
        .agg(
            *(sf.mode(name, True).alias(name) for name in ("category", "channel", "country")),
            sf.avg(log_cents).alias("mean"),
            sf.coalesce(sf.stddev(log_cents), sf.lit(0.5)).alias("std"),
            sf.count("*").alias("events"),
        )
        .orderBy(sf.desc("events"), "merchant_id")
        .limit(MERCHANTS_SAMPLED)
    )
    times = kept.orderBy(by_hash, "event_id").limit(EVENTS_SAMPLED).select("event_timestamp")
    totals = kept.agg(
        sf.count("*").alias("events"),
        sf.count("device_id").alias("devices"),
        sf.count_if(sf.col("event_type") == "withdrawal").alias("withdrawals"),
    ).first()
    assert totals is not None  # an aggregate without groups has exactly one row
    return Sample(
        users=users.toArrow().to_pandas(),
        merchants=merchants.toArrow().to_pandas().round({"mean": 9, "std": 9}),
        t_us=times.toArrow().to_pandas()["event_timestamp"].to_numpy(),
        events=totals["events"],
        has_devices=totals["devices"] > 0,
        has_withdrawals=totals["withdrawals"] > 0,
    )


def injected_events(drawn: Sample, since_us: int, until_us: int, seed: int = SEED) -> pd.DataFrame:
    """Simulated attacks in [since_us, until_us), columns as staged rows have them.

    Empty where the source has no priced merchant or spans less than ten minutes. At least LEAST_ATTACKS, about 1 % of
    the events of a large source, where its events are dense, begun early enough for most to be known at the end.
    """
    if drawn.merchants.empty or until_us - since_us < SHORTEST_US:
        return pd.DataFrame()
    rng = np.random.default_rng(seed)
    delay_s = reports.label_delay_s((until_us - since_us) / 1e6)
    attacks = max(LEAST_ATTACKS, round(drawn.events * FRAUD_SHARE / EVENTS_AN_ATTACK))
    count = round(attacks / scenarios.MEAN_ATTACKS)
    background = _background(drawn, until_us - since_us)
    frequent = np.sqrt(drawn.users["events"].to_numpy())
    victim = rng.choice(len(frequent), count, p=frequent / frequent.sum())
    start = _evenly(rng, drawn.t_us[drawn.t_us <= until_us - 1.2e6 * delay_s], count)
    purchases = scenarios.campaigns(rng, background, victim, start)
    events = pd.concat([purchases, _looks(rng, background, purchases)], ignore_index=True)
    inside = (events["t_us"] >= since_us) & (events["t_us"] < until_us)
    return _staged(rng, drawn, events[inside].sort_values(["t_us", "attack"], ignore_index=True), delay_s)


def _evenly(rng: Generator, t_us: np.ndarray, count: int) -> np.ndarray:
    """`count` of the instants, one from each equal part of them in time order: attacks are as dense as honest events."""
    places = (np.arange(count) + rng.random(count)) / count * len(t_us)
    return np.sort(t_us)[places.astype(np.int64)]


def _background(drawn: Sample, span_us: int) -> scenarios.Background:
    merchants = np.sqrt(drawn.merchants["events"].to_numpy())
    mean, std = drawn.merchants["mean"].to_numpy(), drawn.merchants["std"].to_numpy()
    small = np.where(mean <= np.quantile(mean, 0.3), merchants, 0.0)
    return scenarios.Background(
        strangers=lambda rng, user: rng.choice(len(merchants), len(user), p=merchants / merchants.sum()),
        small_merchants=lambda rng, user: rng.choice(len(small), len(user), p=small / small.sum()),
        amounts=lambda rng, user, merchant: np.exp(rng.normal(mean[merchant], std[merchant])),
        has_withdrawals=drawn.has_withdrawals,
        pace=scenarios.pace_of(span_us),
    )


def _looks(rng: Generator, background: scenarios.Background, purchases: pd.DataFrame) -> pd.DataFrame:
    """Up to three looks in the minutes before each purchase, half of them at other merchants."""
    looks = purchases.loc[purchases.index.repeat(rng.integers(0, MOST_LOOKS + 1, len(purchases)))].reset_index(drop=True)
    other = background.strangers(rng, looks["user"].to_numpy())
    is_other = (rng.random(len(looks)) < 0.5) | (looks["merchant"].to_numpy() < 0)
    prices = background.amounts(rng, looks["user"].to_numpy(), other).round()
    return looks.assign(
        event_type="view",
        t_us=looks["t_us"] - rng.integers(3 * SECOND_US, 120 * SECOND_US, len(looks)),
        merchant=np.where(is_other, other, looks["merchant"]),
        amount_cents=np.where(is_other, prices, looks["amount_cents"]).astype(np.int64),
    )


def _staged(rng: Generator, drawn: Sample, events: pd.DataFrame, delay_s: float) -> pd.DataFrame:
    place = events["merchant"].to_numpy()
    of_merchant = drawn.merchants.iloc[np.maximum(place, 0)].reset_index(drop=True)
    of_merchant = of_merchant.where(pd.Series(place >= 0), None)
    t_us = events["t_us"].to_numpy()
    label, known_us = reports.reported(rng, np.ones(len(events), dtype=bool), t_us, delay_s)
    attack = events["attack"].astype(str)
    return pd.DataFrame(
        {
            "event_id": [f"injected-{number}" for number in range(len(events))],
            "event_timestamp": t_us,
            "created_timestamp": t_us,
            "user_id": drawn.users["user_id"].to_numpy()[events["user"]],
            "merchant_id": of_merchant["merchant_id"],
            "device_id": "injected-device-" + attack if drawn.has_devices else None,
            "event_type": events["event_type"],
            "category": of_merchant["category"],
            "channel": of_merchant["channel"],
            "country": of_merchant["country"],
            "amount_cents": events["amount_cents"],
            "session_id": "injected-session-" + attack,
            "is_fraud": label,
            "known_us": known_us,
            "scenario": events["scenario"],
        }
    )
