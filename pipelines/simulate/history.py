"""The simulated past as raw files, as a bank's systems might export them; `mappings/simulator.yaml` reads them."""

import gzip
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
from numpy.random import Generator

from pipelines.simulate import everyday, scenarios, slow_frauds
from pipelines.simulate.raw_fields import First, raw_fields
from pipelines.simulate.surroundings import Surroundings, broken, surroundings
from pipelines.simulate.world import COUNTRIES, DAY_US, DEVICES_A_USER, World, make_world

SEED = 7
MERCHANTS_A_USER = 0.4
UNTIL_US = 1_767_225_600_000_000
"""2026-01-01T00:00Z: the same seed gives the same raw files whenever it is run; the mapping moves them to now."""

REGION_USER_DAYS = 400_000
"""A larger world is made region by region, each with users, merchants and devices of its own, and so of any size."""
LEAST_USERS, LEAST_MERCHANTS = 200, 60
"""Of a region."""
REGION_DEVICES = 1_000_000
"""Attackers' devices of a region are numbered within so many."""

NUMBERS = {
    **dict.fromkeys(("credit_score", "account_age_days", "is_promotion"), pa.int64()),
    **dict.fromkeys(("policy_rate", "eur_usd", "crypto_usd"), pa.float64()),
}
"""Types in Parquet of what is no text there: a load believes the files, where it reads the types of CSV from all texts."""

FILES = 8
ATTACKS_A_USER_DAY = 600 / 3_000 / 120
NEW_ACCOUNT_DAYS = 365
UNEXPLAINED = 0.0006


def write_raw_files(folder: Path, users: int, days: int, seed: int = SEED, say: Callable[[str], None] | None = None) -> int:
    """Write the whole history anew; returns the number of events.

    Times are RFC 3339 in UTC, amounts in currency units with two decimals, both as text; an empty field (in Parquet null) is
    absent. A world of one region is part-NN.csv.gz in time order, a larger one a Parquet file a region, said as it is done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("part-*.csv.gz"), *folder.glob("part-*.parquet")):
        old.unlink()
    regions = min(-(-users * days // REGION_USER_DAYS), users // LEAST_USERS)
    if regions > 1:
        return _write_regions(folder, regions, users, days, seed, say or (lambda _: None))
    rows = raw_rows(np.random.default_rng(seed), users, days)
    paths = [folder / f"part-{number:02d}.csv.gz" for number in range(FILES)]
    for path, part in zip(paths, np.array_split(np.arange(len(rows)), FILES), strict=True):
        with gzip.open(path, "wb", compresslevel=1) as file:
            pcsv.write_csv(_texts(rows.iloc[part]), file, pcsv.WriteOptions(quoting_style="needed"))
    return len(rows)


def _write_regions(folder: Path, regions: int, users: int, days: int, seed: int, say: Callable[[str], None]) -> int:
    """Regions of nearly equal size, in memory one at a time."""
    written, attackers = 0, users * DEVICES_A_USER
    around = _around(np.random.default_rng(seed), days)
    begins = np.arange(regions + 1) * users // regions
    for number, (begin, end) in enumerate(pairwise(begins.tolist())):
        first = First(begin, begin + number * LEAST_MERCHANTS, written, attackers + number * REGION_DEVICES)
        rows = raw_rows(np.random.default_rng((seed, number)), end - begin, days, around, first)
        pq.write_table(_with_numbers(_texts(rows)), folder / f"part-{number:05d}.parquet", compression="zstd")
        written += len(rows)
        say(f"  {written:,} events, {end / users:.0%} of the users")
    return written


def raw_rows(
    rng: Generator, users: int, days: int, around: Surroundings | None = None, first: First | None = None
) -> pd.DataFrame:
    """Every event of the simulated world in time order, one column a field of the raw files.

    around, first  of a region: what all regions have in common, and where its ids begin
    """
    since_us = UNTIL_US - days * DAY_US
    world = make_world(rng, users, max(int(users * MERCHANTS_A_USER), LEAST_MERCHANTS), since_us, UNTIL_US)
    honest = everyday.everyday_events(rng, world, since_us, UNTIL_US)
    slow_frauds.turn_merchants(rng, world, honest, since_us, days)
    lone = slow_frauds.lone_frauds(rng, world, honest, since_us, days)
    events = pd.concat([honest, lone, fraud_events(rng, world, since_us, days)], ignore_index=True)
    events = events[events["t_us"] < UNTIL_US].sort_values(["t_us", "user", "event_type"], ignore_index=True)
    unexplained = (rng.random(len(events)) < UNEXPLAINED) & (events["event_type"] == "payment") & events["scenario"].isna()
    events.loc[unexplained, "scenario"] = "unexplained"
    events = broken(events, (events["t_us"].to_numpy() - since_us) // DAY_US, days)
    first = first or First(strange_device=users * DEVICES_A_USER)
    return raw_fields(rng, world, events, around or _around(rng, days), since_us, days, first)


def _around(rng: Generator, days: int) -> Surroundings:
    return surroundings(rng.spawn(1)[0], UNTIL_US // DAY_US - days, days)


def _texts(rows: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(rows, pa.schema([(name, pa.string()) for name in rows]), preserve_index=False)


def _with_numbers(texts: pa.Table) -> pa.Table:
    return texts.cast(pa.schema([(name, NUMBERS.get(name, pa.string())) for name in texts.column_names]))


def fraud_events(rng: Generator, world: World, since_us: int, days: int) -> pd.DataFrame:
    """The frauds of the period; two attacks in three come from an unknown device (-1), the rest from the victim's."""
    background = _background(world, days)
    count = max(1, round(world.users * days * ATTACKS_A_USER_DAY / scenarios.MEAN_ATTACKS))
    hazard = _hazard(world)
    victim = rng.choice(world.users, count, p=hazard / hazard.sum())
    start = everyday.times(rng, world, rng.integers(0, world.users, count), since_us, days)
    frauds = scenarios.campaigns(rng, background, victim, start)
    is_strange = rng.random(int(frauds["attack"].max()) + 1) < 0.65
    return frauds.assign(device=np.where(is_strange[frauds["attack"]], -1, 0))


def _hazard(world: World) -> np.ndarray:
    """How easily each account is broken into: low scores (facts of the profile), new accounts, two devices, much use."""
    careless = np.exp(-(world.credit_score - 680) / 60)
    is_new = np.where(world.account_age_days < NEW_ACCOUNT_DAYS, 3.0, 1.0)
    return careless.clip(0.05, 20) * is_new * world.device_count * np.sqrt(world.payments_a_day)


def _background(world: World, days: int) -> scenarios.Background:
    return scenarios.Background(
        strangers=lambda rng, user: world.pick_merchants(rng, _mostly_home(rng, world, user)),
        small_merchants=lambda rng, user: everyday.micro_merchants(rng, world, user),
        amounts=lambda rng, user, merchant: everyday.amounts(rng, world, user, merchant),
        has_withdrawals=True,
        pace=scenarios.pace_of(days * DAY_US),
    )


def _mostly_home(rng: Generator, world: World, user: np.ndarray) -> np.ndarray:
    abroad = rng.random(len(user)) < 0.1
    return np.where(abroad, rng.integers(0, len(COUNTRIES), len(user)), world.user_country[user])
