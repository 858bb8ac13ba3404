"""The shop is as REES46's was, within limits; its users do not depend on each other; any size fits into memory."""

import itertools
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from feature_repo.settings import PROJECT_ROOT
from pipelines.ingest.choice import REES46_HEADER
from pipelines.simulate.shop import files, realism
from pipelines.simulate.shop.catalog import Catalog
from pipelines.simulate.shop.events import Events, block, catalog_of
from pipelines.simulate.shop.fit import read_sample
from pipelines.simulate.shop.steps import VIEW

SAMPLE = PROJECT_ROOT.parent / "shared" / "data" / "rees46_2019-10-01_first_3h.csv.gz"
UNTIL_US = 1_767_225_600_000_000
Made = tuple[Catalog, Events, Events]


@pytest.fixture(scope="module")
def made() -> Made:
    return realism.made()


def test_what_visitors_do_is_as_in_the_population_of_the_real_shop(made: Made) -> None:
    distances = list(realism.from_population(*made))

    assert len(distances) == 10
    assert [str(distance) for distance in distances if not distance.holds] == []


@pytest.mark.skipif(not SAMPLE.exists(), reason=f"the REES46 sample is not at {SAMPLE}")
def test_prices_categories_and_times_can_hardly_be_told_from_the_real_sample_s(made: Made) -> None:
    catalog, _, two_months = made

    distances = list(realism.from_sample(catalog, two_months, read_sample(SAMPLE)))

    assert len(distances) >= 12
    assert [str(distance) for distance in distances if not distance.holds] == []


def test_a_world_of_another_kind_is_said_to_be_too_far(made: Made) -> None:
    catalog, seven, two = made
    late = Events(two.at_s + 6 * 3_600, np.zeros_like(two.kind), two.product, two.user, two.session)

    too_far = {distance.name for distance in realism.from_population(catalog, seven, late) if not distance.holds}

    assert {"share of view events", "share of cart events", "hours of all events, total variation"} <= too_far


def test_what_is_put_into_a_cart_or_bought_was_looked_at_in_the_same_session_before(made: Made) -> None:
    _, _, two = made
    opens = np.diff(two.session, prepend=-1) != 0
    taken = np.flatnonzero(two.kind != VIEW)

    assert (two.kind[opens] == VIEW).all()
    assert (two.product[taken] == two.product[taken - 1]).all()
    assert (two.session[taken] == two.session[taken - 1]).all()


def test_the_users_of_a_block_are_the_same_whatever_else_is_made() -> None:
    catalog = catalog_of(3)

    alone = block(catalog, 3, 1, users=50, days=30)
    block(catalog, 3, 0, users=50, days=30)
    after_others = block(catalog, 3, 1, users=50, days=30)
    of_another_seed = block(catalog, 4, 1, users=50, days=30)

    assert all(np.array_equal(getattr(alone, name), getattr(after_others, name)) for name in Events.__dataclass_fields__)
    assert not np.array_equal(alone.at_s, of_another_seed.at_s)


def test_files_are_written_block_by_block_in_the_real_format_with_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BLOCK_USERS", 40)
    said: list[str] = []

    written = files.write_shop(tmp_path, users=100, days=30, until_us=UNTIL_US, seed=1, say=said.append)

    tables = [pq.read_table(path) for path in sorted(tmp_path.glob("part-*.parquet"))]
    assert [table.column_names for table in tables] == [REES46_HEADER.split(",")] * 3
    assert sum(table.num_rows for table in tables) == written
    assert [line.split("%")[0].split()[-1] for line in said] == ["33", "67", "100"]
    users = [set(table["user_id"].to_pylist()) for table in tables]
    assert sum(map(len, users)) == len(set().union(*users)) > 90
    times = [table["event_time"].cast("int64").to_numpy() for table in tables]
    assert all((np.diff(at) >= 0).all() for at in times)
    assert all(earlier.max() <= UNTIL_US for earlier, _ in itertools.pairwise([*times, times[0]]))
