"""How the simulated events are written down: ids, texts, labels and profile fields of the raw files."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.random import Generator

from pipelines.simulate import everyday, reports
from pipelines.simulate.surroundings import Surroundings, rise
from pipelines.simulate.world import CATEGORIES, COUNTRIES, DAY_US, DEVICES_A_USER, World

MONEY = ("payment", "hold", "withdrawal")
ATMS_A_COUNTRY = 40
HALF_HOUR_US = 1_800_000_000


@dataclass(frozen=True)
class First:
    """The numbers that ids of a world begin with; attackers' devices come after everybody's own."""

    user: int = 0
    merchant: int = 0
    event: int = 0
    strange_device: int = 0


def raw_fields(
    rng: Generator, world: World, events: pd.DataFrame, around: Surroundings, since_us: int, days: int, first: First
) -> pd.DataFrame:
    """The raw files' columns of `events` (an event frame in time order, of the `days` from `since_us` on)."""
    user, t_us, merchant = (events[name].to_numpy() for name in ("user", "t_us", "merchant"))
    kind, cents = events["event_type"].to_numpy(), events["amount_cents"].to_numpy()
    channel = everyday.channels(rng, world, events)
    country = COUNTRIES[np.where(merchant >= 0, world.merchant_country[merchant], world.country_of(user, t_us))]
    is_fraud = events["scenario"].notna().to_numpy()
    label, known_us = reports.reported(rng, is_fraud, t_us, reports.label_delay_s(days * 86_400.0))
    is_money, is_cash = np.isin(kind, MONEY), kind == "withdrawal"
    merchant_ids = _merchant_ids(rng, is_cash, merchant, country, first)
    category = np.where(is_cash, "cash", CATEGORIES[world.merchant_category[merchant]])
    session = _numbered("s-", (user + first.user) * 100_000 + (t_us - t_us.min()) // HALF_HOUR_US)
    fields = {
        "id": _numbered("t-", np.arange(len(events)) + first.event),
        "happened_at": _iso(t_us),
        "arrived_at": _iso(_arrivals(rng, t_us)),
        "customer": _numbered("u-", user + first.user),
        "merchant": merchant_ids,
        "device": _device_ids(events, channel, merchant_ids, first),
        "kind": kind,
        "category": _only((merchant >= 0) | is_cash, category),
        "channel": channel,
        "country": country,
        "amount": _only(cents >= 0, np.char.mod("%.2f", cents / 100)),
        "session": _only(np.isin(channel, ("online", "app")), session),
        "fraud": _only(is_money, label.astype(str)),
        "reported_at": _only(is_money, _iso(known_us)),
        "scenario": events["scenario"].to_numpy(),
    }
    day = ((t_us - since_us) // DAY_US).clip(0, days - 1)
    return pd.DataFrame(fields | _profiles(rng, world, user, t_us, rise(day, days)) | _market(around, day))


def _market(around: Surroundings, day: np.ndarray) -> dict[str, np.ndarray]:
    """What was published for each day, given with the day's first event, empty elsewhere."""
    is_first = np.diff(day, prepend=-1) > 0
    return {name: _only(is_first, series[day].astype(str)) for name, series in vars(around).items()}


def _profiles(rng: Generator, world: World, user: np.ndarray, t_us: np.ndarray, raised: np.ndarray) -> dict[str, np.ndarray]:
    """Profile fields, given where a user is first seen in a fortnight (scores are renewed then), empty elsewhere."""
    fortnight = (t_us - t_us.min()) // (14 * DAY_US)
    is_first = ~pd.DataFrame({"user": user, "fortnight": fortnight}).duplicated().to_numpy()
    drift = rng.normal(0, 8, (world.users, int(fortnight.max()) + 1)).cumsum(axis=1)
    score = (world.credit_score[user] + drift[user, fortnight]).clip(300, 850).astype(np.int64)
    age_band = np.array(["18-24", "25-34", "35-49", "50-64", "65+"])[np.digitize(world.age[user], [25, 35, 50, 65])]
    days = world.account_age_days[user] + (t_us - t_us.min()) // DAY_US
    columns = {
        "credit_score": score,
        "income": (world.income_cents[user] * raised).astype(np.int64) // 100,
        "home_country": COUNTRIES[world.user_country[user]],
        "age_band": age_band,
        "account_age_days": days,
    }
    return {name: _only(is_first, values.astype(str)) for name, values in columns.items()}


def _arrivals(rng: Generator, t_us: np.ndarray) -> np.ndarray:
    """Median 80 ms after the event; one in a hundred waits minutes to hours in a terminal without a line."""
    lag_us = np.exp(rng.normal(np.log(80_000), 1.0, len(t_us)))
    is_late = rng.random(len(t_us)) < 0.01
    lag_us[is_late] = np.exp(rng.uniform(np.log(60e6), np.log(6 * 3_600e6), is_late.sum()))
    return t_us + lag_us.astype(np.int64)


def _device_ids(events: pd.DataFrame, channel: np.ndarray, merchant_ids: np.ndarray, first: First) -> np.ndarray:
    """A merchant's terminal where the card was present, else the user's own device or the attacker's."""
    own = (events["user"].to_numpy() + first.user) * DEVICES_A_USER + events["device"].to_numpy().clip(0)
    strange = first.strange_device + events["attack"].fillna(0).to_numpy().astype(np.int64)
    personal = _numbered("d-", np.where(events["device"].to_numpy() < 0, strange, own))
    terminal = "terminal-" + merchant_ids.astype(str).astype(object)
    return np.where(np.isin(channel, ("card_present", "atm")), terminal, personal)


def _merchant_ids(rng: Generator, is_cash: np.ndarray, merchant: np.ndarray, country: np.ndarray, first: First) -> np.ndarray:
    number = np.char.mod("-%d", rng.integers(0, ATMS_A_COUNTRY, len(merchant))).astype(object)
    return _only(
        (merchant >= 0) | is_cash,
        np.where(is_cash, "atm-" + country.astype(object) + number, _numbered("m-", merchant + first.merchant)),
    )


def _only(given: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`values` where they are given, None elsewhere."""
    kept = np.full(len(values), None, dtype=object)
    kept[given] = values[given]
    return kept


def _numbered(prefix: str, numbers: np.ndarray) -> np.ndarray:
    return np.char.mod(f"{prefix}%d", numbers).astype(object)


def _iso(us: np.ndarray) -> np.ndarray:
    return np.datetime_as_string(us.astype("datetime64[us]"), timezone="UTC").astype(object)
