"""The names of the scenarios, and frauds as sequences, with amounts and merchants of honest payments: testing and takeover."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.random import Generator

CARD_TESTING = "card_testing"
ACCOUNT_TAKEOVER = "account_takeover"
COLLUSION = "collusion"
BAD_TERMINAL = "bad_terminal"
IMPOSSIBLE_TRAVEL = "impossible_travel"
LEAKED_CARD = "leaked_card"
HOUR_US = 3_600_000_000
LONGEST_US = 60 * HOUR_US
REPEATED = 0.45
MEAN_ATTACKS = 1 / (1 - REPEATED)
TESTING_SHARE = 1 / 3
CASH_OUT_CENTS = np.array([10_000, 20_000, 30_000])


@dataclass(frozen=True)
class Background:
    """What a fraudster has to hide in. Users and merchants are numbers, instants microseconds since the epoch.

    strangers        strangers(rng, users): a merchant for each user, popular ones more often
    small_merchants  the same, of merchants where small amounts are usual
    amounts          amounts(rng, users, merchants): cents as honest users pay there
    has_withdrawals  whether the source knows cash machines
    pace             1, or less where the source is too short for attacks of days (see pace_of)
    """

    strangers: Callable[[Generator, np.ndarray], np.ndarray]
    small_merchants: Callable[[Generator, np.ndarray], np.ndarray]
    amounts: Callable[[Generator, np.ndarray, np.ndarray], np.ndarray]
    has_withdrawals: bool
    pace: float


def pace_of(span_us: int) -> float:
    """How much faster attacks go in a short source: the longest one takes at most a thirtieth of it."""
    return min(1.0, span_us / 30 / LONGEST_US)


def campaigns(rng: Generator, background: Background, victim: np.ndarray, start: np.ndarray) -> pd.DataFrame:
    """All frauds of the attacks on `victim[i]` from `start[i]` on: stolen credentials are used again within days.

    Each attack is followed by another, 6 to 72 h later, with probability REPEATED (MEAN_ATTACKS in all); one in three
    is card testing. Returns user, t_us, event_type, merchant (-1: none), amount_cents, scenario, attack (its number).
    """
    victims, starts = [victim], [start]
    while len(victims[-1]):
        again = rng.random(len(victims[-1])) < REPEATED
        wait_us = rng.uniform(6 * HOUR_US, 72 * HOUR_US, again.sum()) * background.pace
        victims.append(victims[-1][again])
        starts.append(starts[-1][again] + wait_us.astype(np.int64))
    victim, start = np.concatenate(victims), np.concatenate(starts)
    is_testing = rng.random(len(victim)) < TESTING_SHARE
    testing = card_testing(rng, background, victim[is_testing], start[is_testing])
    takeover = account_takeover(rng, background, victim[~is_testing], start[~is_testing])
    takeover["attack"] += is_testing.sum()
    return pd.concat([testing, takeover], ignore_index=True)


def card_testing(rng: Generator, background: Background, victim: np.ndarray, start: np.ndarray) -> pd.DataFrame:
    """5 to 18 payments or holds at merchants of small amounts within 5 to 60 minutes, then 1 or 2 ordinary or large ones."""
    small, large = rng.integers(5, 19, len(victim)), rng.integers(1, 3, len(victim))
    pace = min(1.0, background.pace * LONGEST_US / HOUR_US)
    length = rng.uniform(HOUR_US / 12, HOUR_US, len(victim)) * pace
    probes = _spread(rng, victim, start, length, small)
    probes["merchant"] = background.small_merchants(rng, probes["user"].to_numpy())
    probes["amount_cents"] = _ordinary(rng, background, probes, 1.0, 1.0)
    probes["event_type"] = np.where(rng.random(len(probes)) < 0.1, "hold", "payment")
    hauls = _spread(rng, victim, start + length.astype(np.int64), length, large)
    hauls["merchant"] = background.strangers(rng, hauls["user"].to_numpy())
    hauls["amount_cents"] = _ordinary(rng, background, hauls, 1.0, 3.0)
    hauls["event_type"] = "payment"
    return pd.concat([probes, hauls], ignore_index=True).assign(scenario=CARD_TESTING)


def account_takeover(rng: Generator, background: Background, victim: np.ndarray, start: np.ndarray) -> pd.DataFrame:
    """1 to 3 visits within 2 to 60 h, each 2 to 4 ordinary payments in the hour at merchants new to the victim.

    Four in ten end at a cash machine, where the source knows any.
    """
    visits = rng.integers(1, 4, len(victim))
    length = rng.uniform(2 * HOUR_US, LONGEST_US, len(victim)) * background.pace
    visited = _spread(rng, victim, start, length, visits)
    at, user = visited["t_us"].to_numpy(), visited["user"].to_numpy()
    hour = np.full(len(visited), HOUR_US * min(1.0, background.pace * 10))
    payments = _spread(rng, user, at, hour, rng.integers(2, 5, len(visited)))
    payments["attack"] = visited["attack"].to_numpy()[payments["attack"]]
    payments["merchant"] = background.strangers(rng, payments["user"].to_numpy())
    payments["amount_cents"] = _ordinary(rng, background, payments, 1.0, 1.8)
    payments["event_type"] = "payment"
    frames = [payments]
    if background.has_withdrawals:
        counts = np.where(rng.random(len(victim)) < 0.4, rng.integers(1, 5, len(victim)), 0)
        cash = _spread(rng, victim, start + length.astype(np.int64), length / 8, counts)
        cents = rng.choice(CASH_OUT_CENTS, len(cash))
        frames.append(cash.assign(merchant=-1, amount_cents=cents, event_type="withdrawal"))
    return pd.concat(frames, ignore_index=True).assign(scenario=ACCOUNT_TAKEOVER)


def _spread(rng: Generator, victim: np.ndarray, start: np.ndarray, length: np.ndarray, counts: np.ndarray) -> pd.DataFrame:
    """counts[i] events of victim i at uniform instants in [start, start + length); attack is i."""
    attack = np.repeat(np.arange(len(victim)), counts)
    t_us = start[attack] + (rng.random(len(attack)) * length[attack]).astype(np.int64)
    return pd.DataFrame({"user": victim[attack], "t_us": t_us, "attack": attack})


def _ordinary(rng: Generator, background: Background, events: pd.DataFrame, least: float, most: float) -> np.ndarray:
    cents = background.amounts(rng, events["user"].to_numpy(), events["merchant"].to_numpy())
    return np.maximum((cents * rng.uniform(least, most, len(events))).round(), 1).astype(np.int64)
