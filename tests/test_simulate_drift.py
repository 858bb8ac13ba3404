"""What goes wrong in the simulated world is found by the checks of a load, and nothing else is."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.checks import expectations, steadiness
from pipelines.simulate import history, surroundings
from pipelines.simulate.world import DAY_US

USERS, DAYS = 1_200, 60
FIRST_DAY = history.UNTIL_US // DAY_US - DAYS


@pytest.fixture(scope="module")
def raw() -> pd.DataFrame:
    rows = history.raw_rows(np.random.default_rng(1), USERS, DAYS)
    return rows.assign(date=rows["happened_at"].str[:10])


@pytest.fixture(scope="module")
def days(raw: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("log")
    for date, rows in raw.groupby("date"):
        (folder / f"event_date={date}").mkdir()
        pq.write_table(pa.table({"event_type": rows["kind"]}), folder / f"event_date={date}" / "history-0.parquet")
    return steadiness.days_of(folder)


def dates(first: int, last: int) -> list[str]:
    return [str(np.datetime64(FIRST_DAY + day, "D")) for day in range(first, last)]


def test_the_days_without_payments_are_found_and_the_days_of_repeated_holds(days: pd.DataFrame) -> None:
    said = {kind: [entry.partition(" ")[0] for entry in steadiness.unusual(days[kind])] for kind in days.columns}

    assert said["payment"] == dates(24, 26)
    assert said["hold"] == dates(12, 18)
    assert said["view"] == said["withdrawal"] == []


def test_a_rise_of_incomes_is_found_and_nothing_else_of_the_profiles(raw: pd.DataFrame, tmp_path: Path) -> None:
    given = raw[raw["income"].notna()]
    columns = {name: given[name].astype("int64") for name in ("income", "credit_score")}
    table = pa.table({"event_timestamp": given["happened_at"], **columns, "country": given["home_country"]})
    pq.write_table(table, tmp_path / "history-0.parquet")

    shifts = steadiness.shifts_of(tmp_path)

    assert set(shifts) == {"income", "credit_score"}
    assert shifts["income"] > steadiness.MOST_PSI > shifts["credit_score"]
    described = [expectation.description or "" for expectation in expectations.of_shifts(shifts)]
    assert [f"found {shifts['income']:.2f}" in text for text in described] == [True, False]


def test_the_stability_index_of_the_same_numbers_is_zero_and_grows_with_the_shift() -> None:
    old = np.random.default_rng(0).normal(0, 1, 5_000)

    found = [steadiness.shift(old, old + by) for by in (0.0, 0.2, 0.5, 1.0)]

    assert found[0] == 0.0
    assert found == sorted(found)
    assert found[2] == pytest.approx(0.25, abs=0.06)  # of two normals: the shift squared


def test_a_log_of_a_few_days_is_not_judged(tmp_path: Path) -> None:
    for day in range(1, 15):
        (tmp_path / f"event_date=2026-01-{day:02d}").mkdir()
        pq.write_table(pa.table({"event_type": ["payment"] * 50}), tmp_path / f"event_date=2026-01-{day:02d}" / "a.parquet")

    assert steadiness.days_of(tmp_path).empty


def test_short_worlds_lose_and_repeat_nothing() -> None:
    events = pd.DataFrame({"event_type": ["payment", "hold", "view"] * 4})

    assert surroundings.broken(events, np.repeat(np.arange(4), 3), days=4).equals(events)
    assert (surroundings.rise(np.arange(4), days=4) == 1.0).all()


def test_every_day_publishes_its_rates_once_and_shops_promote_on_some_days(raw: pd.DataFrame) -> None:
    published = raw[raw["policy_rate"].notna()]
    paid = raw[raw["kind"] == "payment"].groupby("date").size()
    promoted = published.set_index("date")["is_promotion"].astype(int) == 1

    assert published["date"].tolist() == dates(0, DAYS)
    assert published[["eur_usd", "crypto_usd", "is_promotion"]].notna().all().all()
    assert paid[promoted].median() > 1.25 * paid[~promoted].median()
