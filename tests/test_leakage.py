"""Letting the future in, on a small simulated world: what it shows is more than it is worth, and the honest rows differ."""

import itertools
import json
from collections.abc import Mapping

import numpy as np
import pyarrow.compute as pc
import pytest
from applied_repo import apply_definitions
from simulated_log import write_simulated_log

from feature_repo.settings import Settings
from pipelines.ladder import climb, rungs
from pipelines.leakage import leaks
from pipelines.leakage.ground import Ground, honest_ground
from pipelines.leakage.report import table, written
from pipelines.simulate import history
from pipelines.training.parts import Part
from pipelines.training.progress import Progress
from pipelines.training.study import STATELESS, with_placeholders, worth


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, redis_server: str) -> Ground:
    """900 users, 70 days, and the honest model's rows."""
    data_dir = tmp_path_factory.mktemp("leakage")
    settings = Settings.from_env({"DATA_DIR": str(data_dir), "REDIS_CONNECTION_STRING": f"{redis_server},db=11"})
    write_simulated_log(settings, users=900, days=70)
    return honest_ground(apply_definitions(settings), settings, history.UNTIL_US, seed=7)


@pytest.fixture(scope="module")
def found(ground: Ground) -> dict[str, leaks.Leak]:
    return {leak.__name__: leak(ground) for leak in leaks.LEAKS}


@pytest.fixture(scope="module")
def honest(ground: Ground) -> dict:
    test = ground.parts["test"]
    return worth(test.fraud, ground.model(test.features), ground.seed)


def shown(leak: leaks.Leak) -> float:
    return leak.apparent["average_precision"]


def real(leak: leaks.Leak) -> float:
    return leak.real["average_precision"]


def frauds(parts: Mapping[str, Part]) -> int:
    return int(parts["fit"].fraud.sum() + parts["validation"].fraud.sum())


IN_THE_NOISE = (leaks.window_includes_itself, leaks.created_ignored)
"""An event more in each window, late events and some days of labels move a score by less than the noise of so small a world:
what they let in is counted below."""


@pytest.mark.parametrize("name", [leak.__name__ for leak in leaks.LEAKS if leak not in IN_THE_NOISE])
def test_a_leak_shows_more_than_its_model_is_worth(found, name):
    assert shown(found[name]) > real(found[name])


def test_shuffled_rows_and_frauds_added_before_the_cut_show_more_than_the_honest_pipeline(found, honest):
    assert shown(found["random_split"]) > honest["average_precision"]
    assert shown(found["smote_before_split"]) > honest["average_precision_ci"][1]


def test_labels_without_their_delay_show_more_than_anybody_could_have_known(found, honest):
    assert shown(found["labels_known_at_once"]) > honest["average_precision"]
    assert real(found["labels_known_at_once"]) < honest["average_precision"]


def test_a_window_that_ends_after_the_event_counts_it(ground):
    later = ground.entity_rows.assign(event_timestamp=ground.entity_rows["event_timestamp"] + np.timedelta64(1, "us"))

    leaky = leaks._features(ground, later, as_known=False)

    name = "user_activity__event_id_count_1h"
    assert pc.min(pc.subtract(leaky[name], ground.asked.features[name])).as_py() >= 0
    assert pc.mean(pc.subtract(leaky[name], ground.asked.features[name])).as_py() > 0.9


def test_without_created_timestamp_late_events_are_counted_before_they_arrived(ground):
    name = "user_activity__event_id_count_1h"

    leaky = leaks._features(ground, ground.entity_rows, as_known=False)

    early = pc.subtract(leaky[name], ground.asked.features[name])
    assert pc.min(early).as_py() == 0
    assert pc.sum(early).as_py() > 0


def test_without_created_timestamp_frauds_are_learnt_from_before_they_were_reported(ground):
    leaky = leaks._with_final_labels(ground)

    assert frauds(leaky) > frauds(ground.parts)


def test_placeholders_leave_a_transaction_its_own_columns_and_nothing_else(ground):
    features = ground.asked.features

    served = with_placeholders(features)

    assert all(served[name].equals(features[name]) for name in STATELESS)
    assert pc.max(served["user_activity__event_id_count_30d"]).as_py() == 0
    assert served["user_novelty__country_last_30d"].null_count == len(served)


def test_the_ladder_climbs_and_placeholders_fall_below_its_first_rungs(ground):
    climbed = climb(ground, Progress())

    precision = {rung: found["average_precision"] for rung, found in climbed.items()}
    assert precision["+ long windows"] > precision["stateless"]
    assert precision["+ streaming windows"] > 2 * precision["stateless"]
    assert precision["placeholders at serving"] < 0.5 * precision["+ streaming windows"]


def test_each_rung_has_the_features_of_the_one_before_and_none_knows_the_scenario(ground):
    steps = [set(names) for names in rungs(tuple(ground.asked.features.column_names)).values()]

    assert all(before <= after for before, after in itertools.pairwise(steps))
    assert not any("scenario" in name for name in steps[-1])


def test_the_report_holds_each_leak_with_its_interval_and_a_plot(tmp_path, found, honest):
    paths = written(tmp_path, honest, list(found.values()), {"seed": 7})

    report = json.loads(paths[0].read_text())
    assert [row["name"] for row in report["leaks"]] == [leak.name for leak in found.values()]
    assert all(len(row["real"]["average_precision_ci"]) == 2 for row in report["leaks"])
    assert paths[1].read_bytes().startswith(b"\x89PNG")
    assert len(table(honest, list(found.values()))) == len(found) + 3
