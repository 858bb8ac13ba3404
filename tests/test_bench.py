"""The benchmarks run at any size, compare only what agrees, and say what they measured in lines a program can read."""

import json
import os
import subprocess
import sys
from contextlib import suppress

import numpy as np
import psutil
import pyarrow as pa
import pytest

from feature_repo.settings import PROJECT_ROOT
from pipelines.bench import history, lines, worlds
from pipelines.bench.measure import Measured, measure

OTHERS = {
    "history": {"duckdb", "spark_sql"},
    "history_engine_spark": {"spark_sql"},
    "growth": set(),
    "as_known": {"plain"},
    "materialize": {"feast_local", "feast_spark"},
    "online_read_online": {"raw", "feast"},
    "online_get_online_features": {"raw", "feast"},
    "memory": set(),
    "memory_all": set(),
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The benchmarks as `make bench` starts them."""
    return subprocess.run(
        [sys.executable, "-m", "pipelines.bench", *arguments],
        cwd=PROJECT_ROOT, env=os.environ, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


@pytest.mark.long
def test_a_small_run_gives_a_line_for_every_comparison_and_a_table():
    done = run("--scale", "0.002")

    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["bench"] for line in found} == set(OTHERS)
    assert [line["size"] for line in found if line["bench"] == "growth"] == [1_000, 2_000, 4_000, 8_000, 16_000]
    assert [line["late"] for line in found if line["bench"] == "as_known"] == [0.0, 0.01, 0.1]
    for line in found:
        for other in OTHERS[line["bench"]]:
            assert line[f"ratio_{other}"] == pytest.approx(line[f"{other}_s"] / line["ours_s"], rel=1e-2)
        assert line["ours_s"] > 0
        assert line["peak_rss_mb"] > 0
    table = done.stderr.split("\n\n")[-1]
    assert all(bench in table for bench in OTHERS)


def test_an_unknown_benchmark_names_those_there_are():
    done = run("--only", "history,fly")

    assert done.returncode == 2
    assert "unknown: fly; there are history, growth, known, materialize, online" in done.stderr


def sliding(*sums: int) -> pa.Table:
    """What ours gives two users at one instant."""
    at = pa.array([worlds.END_US] * len(sums)).cast(worlds.US)
    return pa.table({"user_id": ["u1", "u2"][: len(sums)], "event_timestamp": at, "amount_cents_sum_1h": pa.array(sums)})


def theirs(*sums: int) -> pa.Table:
    """The same as another gives it, in another order."""
    users = ["u1", "u2"][: len(sums)]
    return pa.table({"amount_cents_sum_1h": sums[::-1], "at_us": [worlds.END_US] * len(sums), "user_id": users[::-1]})


def test_equal_results_agree_whatever_their_order():
    history.agree("it", sliding(3, 5), theirs(3, 5))


@pytest.mark.parametrize("other", [theirs(3, 6), theirs(3)], ids=["a value", "a row"])
def test_what_differs_is_not_compared_for_speed(other):
    with pytest.raises(history.Disagreement):
        history.agree("it", sliding(3, 5), other)


def test_a_ratio_says_how_many_times_as_long_the_other_took():
    ours = Measured(None, (0.1, 0.2, 9.0), 50.0, 10.0)

    line = lines.compared("history", 7, ours, {"other": Measured(None, (1.0,), 0.0, 0.0)})

    assert (line["ours_s"], line["ours_best_s"], line["other_s"], line["ratio_other"]) == (0.2, 0.1, 1.0, 5.0)


def test_the_peak_counts_what_a_call_held_only_meanwhile():
    measured = measure(lambda: float(np.ones(25_000_000).sum()), 1)

    assert measured.result == 25_000_000
    assert measured.added_mb > 150


def test_a_log_holds_every_event_once_and_the_second_deliveries_beside_them():
    log = worlds.log_of(worlds.World(5_000, twice=0.1))

    ids = log["event_id"].to_pylist()
    assert len(set(ids)) == 5_000
    assert len(ids) > 5_200
    delivered = set(zip(log["source_partition"].to_pylist(), log["source_offset"].to_pylist(), strict=True))
    assert len(delivered) == len(ids)
    assert log.equals(worlds.log_of(worlds.World(5_000, twice=0.1)))


def process_environment(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return str(process.environ())
    return ""


@pytest.mark.long
def test_the_streams_benchmark_gives_a_line_for_each_part_and_leaves_nothing_running(tmp_path):
    environment = os.environ | {"DATA_DIR": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-m", "streaming.bench", "--events", "4000", "--rate", "200", "--seconds", "10"],
        cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    found = {line["bench"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert set(found) == {"fold", "fold_hot", "freshness"}
    assert found["freshness"]["probes"] > 0
    assert not [process for process in psutil.process_iter() if str(tmp_path) in process_environment(process)]
