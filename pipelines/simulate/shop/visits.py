"""When visitors come: how much each does in all, in sessions of which size, how long after the one before, at what hour."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.random import Generator

from pipelines.simulate.shop.population import figures, quantiles

DAY_S, HOUR_S = 86_400.0, 3_600.0
KNOWN_DAYS = 213
"""The quantiles of events a user and of gaps are of seven months, October 2019 to April 2020."""

GROWTH = 0.19
"""Events a user grow as days ** 0.19: 20.7 in two months, 26.3 in seven; most users come once."""

MOST_EVENTS, MOST_DEVIATE = 4_000.0, 4.5
SESSION_LOG, SESSION_STD = 0.95, 1.3
"""Of the natural log of a session's size before what is left of its user's events cuts it."""

SAME_VISIT_S = 3 * HOUR_S
SOON_SHARE, SOON_S, SOON_STD = 0.2, 0.067 * HOUR_S, 2.38
LATER_S, LATER_STD = 150 * HOUR_S, 1.6
VISITS_A_DAY = 0.2
"""Gaps between sessions are a mixture of two log-normals. A user with more sessions than VISITS_A_DAY lets come apart has
more of the soon ones; what is still too long for the world is shortened. With both, all users' gaps are as the table's."""

LONG_PAUSE_SHARE, LONG_PAUSE_S = 0.01, 1_800.0


@dataclass(frozen=True)
class Sessions:
    """n sessions in order of user and time, and the m events in them, in order.

    user     (n,) number of the user within the block
    start_s  (n,) seconds after the beginning of the world
    begin    (n,) index of the session's first event;  size (n,) its number of events
    after_s  (m,) seconds between the session's start and the event
    """

    user: np.ndarray
    start_s: np.ndarray
    begin: np.ndarray
    size: np.ndarray
    after_s: np.ndarray


def sessions_of(rng: Generator, users: int, days: int) -> Sessions:
    """The sessions that begin within `days`, of `users` who come independently of each other."""
    user, size = _sizes(rng, events_of(rng, users, days))
    after_s = _within(rng, size)
    begin = np.cumsum(size) - size
    start_s = _starts(rng, user, size, after_s, days)
    kept = start_s < days * DAY_S
    order = np.lexsort((start_s, user))
    order = order[kept[order]]
    return Sessions(user[order], start_s[order], *_reordered(begin, size, after_s, order))


def events_of(rng: Generator, users: int, days: int) -> np.ndarray:
    """How many events each user has in `days`, at least one."""
    known = quantiles("events_per_user")
    deviates = [NormalDist().inv_cdf(level) for level in known.levels[:-1]]
    logs = np.log(np.append(known.values[:-1], MOST_EVENTS))
    deviate = rng.standard_normal(users)
    count = np.exp(np.interp(deviate, [*deviates, MOST_DEVIATE], logs, left=0.0))
    return np.maximum(np.round(count * (days / KNOWN_DAYS) ** GROWTH), 1).astype(np.int64)


def _sizes(rng: Generator, events: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """User and size of each session, in order of user: sizes are drawn until a user's events are used up."""
    left, user = events.copy(), np.arange(len(events))
    users, sizes = [], []
    while len(user):
        drawn = np.exp(rng.normal(SESSION_LOG, SESSION_STD, len(user))).round().clip(1).astype(np.int64)
        size = np.minimum(drawn, left)
        users.append(user)
        sizes.append(size)
        left, more = left - size, left > size
        left, user = left[more], user[more]
    order = np.argsort(np.concatenate(users), kind="stable")
    return np.concatenate(users)[order], np.concatenate(sizes)[order]


def _within(rng: Generator, size: np.ndarray) -> np.ndarray:
    """Seconds after the session's start of every event: whole seconds, rarely with a pause of half an hour and more."""
    step = quantiles("seconds_between").at(rng.random(int(size.sum())) * 0.98)
    paused = rng.random(len(step)) < LONG_PAUSE_SHARE
    step[paused] = LONG_PAUSE_S * rng.exponential(1.0, int(paused.sum()))
    begin = np.cumsum(size) - size
    step[begin] = 0.0
    total = np.cumsum(np.round(step))
    return np.asarray(total - np.repeat(total[begin], size))


def _starts(rng: Generator, user: np.ndarray, size: np.ndarray, after_s: np.ndarray, days: int) -> np.ndarray:
    """When each session starts: a gap after the end of the user's last one.

    Sessions that follow within hours are one visit; each visit is moved within its day so that one of its events, any of
    them, falls into an hour drawn from those of all looks.
    """
    first = np.append(True, user[1:] != user[:-1])
    begin = np.cumsum(size) - size
    gap_s = np.where(first, 0.0, _gaps(rng, user, days))
    away = np.where(first, 0.0, gap_s + np.append(0.0, after_s[begin + size - 1][:-1]))
    begins = rng.random(user[-1] + 1) * np.maximum(days * DAY_S - np.bincount(user, away), DAY_S)
    raw = np.cumsum(away)
    raw = raw - np.repeat(raw[first], np.bincount(user)) + begins[user]
    opens = first | (gap_s > SAME_VISIT_S)
    visit = np.cumsum(opens) - 1
    events = np.bincount(visit, size)
    anchor = (begin[opens] + rng.random(len(events)) * events).astype(np.int64)
    session = np.searchsorted(begin, anchor, side="right") - 1
    anchor_s = raw[session] + after_s[anchor]
    moved = anchor_s // DAY_S * DAY_S + hours(rng, len(events), "views") - anchor_s
    return np.asarray(raw + moved[visit])


def _gaps(rng: Generator, user: np.ndarray, days: int) -> np.ndarray:
    """Seconds between the end of the user's last session and the start of each (n,); a user's fit into the world."""
    more = np.maximum(np.bincount(user) - 1, 1)
    soon = rng.random(len(user)) < np.maximum(SOON_SHARE, 1 - VISITS_A_DAY * days / more)[user]
    deviate = rng.standard_normal(len(user))
    later_s = np.where(soon, 0.0, np.exp(np.log(LATER_S) + LATER_STD * deviate))
    within = days * DAY_S * rng.uniform(0.8, 1.0, len(more))
    shrink = np.minimum(1.0, within / np.maximum(np.bincount(user, later_s), 1.0))
    return np.where(soon, np.exp(np.log(SOON_S) + SOON_STD * deviate), later_s * shrink[user])


def hours(rng: Generator, count: int, kind: str) -> np.ndarray:
    """Seconds after midnight UTC, as "views" or "purchases" are spread over the day."""
    weight = np.array(figures()["hours"][kind], dtype=float)
    return (rng.choice(24, count, p=weight / weight.sum()) + rng.random(count)) * HOUR_S


def _reordered(
    begin: np.ndarray, size: np.ndarray, after_s: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sizes = size[order]
    begins = np.cumsum(sizes) - sizes
    events = np.repeat(begin[order] - begins, sizes) + np.arange(int(sizes.sum()))
    return begins, sizes, after_s[events]
