"""The simulated world: the same for the same seed, enough frauds to learn from, and none that shows in a single transaction."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from feature_repo.settings import Settings
from pipelines.ingest.attribute_types import SCALED, declared_type, inferred_type, looks_like
from pipelines.ingest.choice import SIMULATOR
from pipelines.ingest.mapping import read_mapping
from pipelines.simulate import history, inject, reports, scenarios

DAY_S = 86_400.0


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """The default world: what `make data` loads."""
    settings = Settings.from_env({})
    raw = history.raw_rows(np.random.default_rng(history.SEED), settings.simulate_users, settings.simulate_days)
    return raw.assign(
        at=pd.to_datetime(raw["happened_at"]), known=pd.to_datetime(raw["reported_at"]), cents=raw["amount"].astype(float) * 100
    )


@pytest.fixture(scope="module")
def frauds(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["scenario"].isin([scenarios.CARD_TESTING, scenarios.ACCOUNT_TAKEOVER])]


def test_the_default_world_has_users_days_and_known_frauds_enough(rows: pd.DataFrame) -> None:
    until = rows["at"].max()

    assert rows["customer"].nunique() >= 1_990
    assert (until - rows["at"].min()).days >= 59
    assert ((rows["fraud"] == "1") & (rows["known"] <= until)).sum() >= 200


def test_the_same_seed_writes_the_same_files_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        history.write_raw_files(tmp_path / name, users=30, days=3, seed=seed)
    first, again, other = (
        [pd.read_csv(path) for path in sorted((tmp_path / name).glob("part-*.csv.gz"))] for name in ("first", "again", "other")
    )

    assert all(one.equals(two) for one, two in zip(first, again, strict=True))
    assert not all(one.equals(two) for one, two in zip(first, other, strict=True))


def test_a_large_world_is_written_region_by_region_that_share_nothing_but_the_market(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "REGION_USER_DAYS", 3_000)
    said: list[str] = []
    written = [history.write_raw_files(tmp_path / name, users=700, days=10, seed=4, say=said.append) for name in "ab"]
    regions = [pd.read_parquet(path) for path in sorted((tmp_path / "a").glob("part-*.parquet"))]
    again = [pd.read_parquet(path) for path in sorted((tmp_path / "b").glob("part-*.parquet"))]
    whole = pd.concat(regions)
    market = whole.dropna(subset="policy_rate").assign(day=lambda rows: rows["happened_at"].str[:10])

    assert [frame["customer"].nunique() > 200 for frame in regions] == [True, True, True]
    assert written == [len(whole)] * 2
    assert said[2] == f"  {len(whole):,} events, 100% of the users"
    assert all(one.equals(other) for one, other in zip(regions, again, strict=True))
    assert whole["id"].is_unique
    for name, of_all in (("customer", r"u-\d+"), ("merchant", r"m-\d+"), ("device", r"d-\d+")):
        named = [set(frame[name].dropna()[frame[name].dropna().str.fullmatch(of_all)]) for frame in regions]
        assert sum(map(len, named)) == len(set.union(*named))
    assert set(whole["customer"]) <= {f"u-{number}" for number in range(700)}
    assert (market.groupby("day")[["policy_rate", "eur_usd", "crypto_usd"]].nunique() == 1).all(axis=None)
    assert market["day"].nunique() == 10


def test_profiles_and_market_of_a_large_world_have_the_types_that_those_of_a_small_one_are_read_as(
    rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "REGION_USER_DAYS", 300)
    history.write_raw_files(tmp_path, users=400, days=2)
    stored = pq.read_schema(next(tmp_path.glob("part-*.parquet")))

    for name, rule in read_mapping(SIMULATOR).slowly_changing.items():
        (column,) = rule.columns
        of_small, of_large = declared_type(rule, []), declared_type(rule, [stored.field(column).type])
        are_integers, are_numbers = (all(kinds) for kinds in zip(*map(looks_like, rows[column].dropna()), strict=True))
        read = inferred_type(of_small, has_values=True, all_integers=are_integers, all_numbers=are_numbers)

        assert of_large in (read, SCALED), name


def test_every_event_has_one_id_and_arrives_after_it_happened(rows: pd.DataFrame) -> None:
    lag_s = (pd.to_datetime(rows["arrived_at"]) - rows["at"]).dt.total_seconds()

    assert rows["id"].is_unique
    assert lag_s.min() >= 0
    assert lag_s.median() < 1
    assert 0.005 < (lag_s > 60).mean() < 0.02


def test_only_money_that_moves_is_labelled_and_a_label_comes_later(rows: pd.DataFrame) -> None:
    labelled = rows[rows["fraud"].notna()]

    assert set(labelled["kind"]) == {"payment", "hold", "withdrawal"}
    assert (labelled["known"] > labelled["at"]).all()
    assert rows.loc[rows["kind"] == "view", "fraud"].isna().all()


def test_frauds_look_like_honest_payments_one_by_one(rows: pd.DataFrame, frauds: pd.DataFrame) -> None:
    money = rows[rows["fraud"].notna()]
    honest = money[money["scenario"].isna()]

    assert 0.003 < len(frauds) / len(money) < 0.03
    assert set(frauds["category"]) <= set(honest["category"])
    assert frauds["cents"].max() < honest["cents"].max()
    most_telling = max(
        (frauds[column].value_counts(normalize=True) / honest[column].value_counts(normalize=True)).max()
        for column in ("category", "channel", "country")
    )
    assert most_telling < 3


def test_frauds_show_in_speed_and_novelty(rows: pd.DataFrame, frauds: pd.DataFrame) -> None:
    money = rows[rows["fraud"].notna()].sort_values("at")
    is_new_merchant = ~money.duplicated(["customer", "merchant"])
    gap_s = money.groupby("customer")["at"].diff().dt.total_seconds()
    is_fraud = money.index.isin(frauds.index)

    assert is_new_merchant[is_fraud].mean() > 1.5 * is_new_merchant[~is_fraud].mean()
    assert gap_s[is_fraud].median() < 0.1 * gap_s[~is_fraud].median()


def test_a_bad_merchant_defrauds_many_users_of_what_it_usually_takes(rows: pd.DataFrame) -> None:
    merchants = rows[rows["kind"] == "payment"].groupby("merchant")
    usual = merchants["cents"].median()
    bad = rows[rows["scenario"].isin([scenarios.COLLUSION, scenarios.BAD_TERMINAL])]

    assert bad.groupby("merchant")["customer"].nunique().median() >= 3
    assert (bad["cents"] / bad["merchant"].map(usual)).median() < 1.5
    assert (bad.groupby("merchant")["at"].max() - bad.groupby("merchant")["at"].min()).max() <= pd.Timedelta(days=35)


def test_a_copied_card_is_used_abroad_within_hours_of_a_payment_at_home(rows: pd.DataFrame) -> None:
    ordered = rows[rows["kind"] == "payment"].sort_values("at")
    before = ordered.groupby("customer")["at"].shift()
    abroad = ordered[ordered["scenario"] == scenarios.IMPOSSIBLE_TRAVEL]
    home = rows.dropna(subset="home_country").drop_duplicates("customer").set_index("customer")["home_country"]

    assert (abroad["country"] != abroad["customer"].map(home)).all()
    assert (abroad["at"] - before[abroad.index]).max() < pd.Timedelta(hours=6)


def test_honest_users_also_make_bursts_of_small_payments(rows: pd.DataFrame) -> None:
    honest = rows[rows["scenario"].isna() & (rows["kind"] == "payment")].sort_values("at")
    small = honest[honest["cents"] < 500]
    hours = small.groupby(["customer", small["at"].dt.floor("h")]).size()

    assert (hours >= 4).sum() > 200


def test_profiles_change_slowly_and_are_given_where_they_change(rows: pd.DataFrame) -> None:
    given = rows[rows["credit_score"].notna()]
    a_user = given.groupby("customer").size()

    assert set(given.groupby("customer").head(1)["customer"]) == set(rows["customer"])
    assert a_user.max() <= 5
    assert given.groupby("customer")["home_country"].nunique().max() == 1


@pytest.mark.parametrize(("span_s", "delay_s"), [(365 * DAY_S, 7 * DAY_S), (60 * DAY_S, 6 * DAY_S), (10_200.0, 1_020.0)])
def test_a_simulated_label_delay_is_at_most_a_tenth_of_the_span(span_s: float, delay_s: float) -> None:
    assert reports.label_delay_s(span_s) == delay_s


def test_one_fraud_in_ten_is_never_reported_and_reads_as_honest_after_the_delay() -> None:
    t_us = np.zeros(20_000, dtype=np.int64)

    label, known_us = reports.reported(np.random.default_rng(3), np.ones(20_000, dtype=bool), t_us, 1_000.0)

    assert label.mean() == pytest.approx(0.9, abs=0.01)
    assert (known_us[label == 0] == 1_000_000_000).all()
    assert np.median(known_us[label == 1]) == pytest.approx(0.5e9, rel=0.05)


def test_injected_attacks_use_the_source_s_own_users_and_merchants_and_fit_into_its_span() -> None:
    merchants = pd.DataFrame(
        {
            "merchant_id": [f"brand-{n}" for n in range(20)],
            "category": None,
            "channel": None,
            "country": None,
            "mean": np.linspace(5, 10, 20),
            "std": 0.5,
            "events": 100,
        }
    )
    since_us, until_us = 10**15, 10**15 + 3 * 3_600_000_000
    users = pd.DataFrame({"user_id": [f"user-{n}" for n in range(50)], "events": 10})
    drawn = inject.Sample(users, merchants, np.arange(since_us, until_us, 10**8), 5_000, False, False)

    events = inject.injected_events(drawn, since_us, until_us)
    again = inject.injected_events(drawn, since_us, until_us)

    pd.testing.assert_frame_equal(events, again)
    assert set(events["user_id"]) <= set(users["user_id"])
    assert set(events["merchant_id"]) <= set(merchants["merchant_id"])
    assert events["event_timestamp"].between(since_us, until_us - 1).all()
    assert events["device_id"].isna().all()
    assert ((events["is_fraud"] == 1) & (events["known_us"] <= until_us)).sum() >= 100
    assert (events["amount_cents"] > 0).all()
