"""The engine without this project: its wheel, in an environment of its own, in a Feast repo of somebody else."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import naive
import pyarrow.parquet as pq
import pytest
from lent_kernels import lend_kernels
from naive import DAY, HOUR, MINUTE, SECOND
from packaging.requirements import Requirement

from feature_repo.settings import PROJECT_ROOT
from stack.python_parts import SYSTEM_CERTIFICATES

pytestmark = pytest.mark.slow

EXAMPLE = PROJECT_ROOT / "examples" / "any_feast_repo"
UV = [sys.executable, "-m", "uv"]
NOON = 1_748_779_200 * SECOND
"""2025-06-01 12:00 UTC, when the example's data ends."""
INSTANTS = (NOON, NOON, NOON + 30 * MINUTE, NOON + 30 * MINUTE)
"""Of the printed columns: history and online at noon, history and online half an hour later."""
WINDOWS = {
    "fare_cents_count_1h": ("fare_cents", "count", HOUR),
    "fare_cents_sum_1h": ("fare_cents", "sum", HOUR),
    "fare_cents_max_1h": ("fare_cents", "max", HOUR),
    "fare_cents_count_1d": ("fare_cents", "count", DAY),
    "fare_cents_sum_1d": ("fare_cents", "sum", DAY),
    "fare_cents_max_1d": ("fare_cents", "max", DAY),
    "rider_id_count_distinct_7d": ("rider_id", "count_distinct", 7 * DAY),
}


def outside(command: list, cwd: Path) -> str:
    """Run a command in a folder that is not the checkout, without a path to it; its output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        command, cwd=cwd, env=environment | SYSTEM_CERTIFICATES, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `uv build` makes of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    outside([*UV, "build", "--quiet", "--out-dir", folder, PROJECT_ROOT], folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment that holds the wheel and what it asks for, at the locked versions."""
    folder = tmp_path_factory.mktemp("environment")
    outside([*UV, "venv", "--quiet", "--python", sys.executable, folder / "venv"], folder)
    python = folder / "venv" / "bin" / "python"
    install = [*UV, "pip", "install", "--quiet", "--python", python, wheel]
    outside([*install, "--constraint", PROJECT_ROOT / "requirements" / "engine.lock"], folder)
    (installed,) = folder.glob("venv/lib/python*/site-packages/plumbline")
    lend_kernels(installed)
    return python


def test_the_wheel_holds_the_engine_alone(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name.partition("/")[0] for name in archive.namelist()}
        modules = {name for name in archive.namelist() if name.endswith(".py")}

    assert {re.sub(r"-[\d.]+\.dist-info$", "-dist-info", name) for name in names} == {"plumbline", "plumbline-dist-info"}
    assert modules == {str(path.relative_to(PROJECT_ROOT)) for path in (PROJECT_ROOT / "plumbline").rglob("*.py")}


def test_the_wheel_asks_for_feast_numpy_numba_pyarrow_and_redis(wheel):
    with zipfile.ZipFile(wheel) as archive:
        metadata = Parser().parsestr(archive.read(next(n for n in archive.namelist() if n.endswith("METADATA"))).decode())

    needed = [Requirement(line) for line in metadata.get_all("Requires-Dist")]

    assert {requirement.name for requirement in needed if requirement.marker is None} == {
        "feast", "numpy", "numba", "pyarrow", "redis",
    }  # fmt: skip
    assert all(requirement.specifier for requirement in needed)


def test_the_engine_imports_without_spark_and_without_the_application(python, tmp_path):
    probe = (
        "import importlib.util as util, plumbline; [getattr(plumbline, name) for name in plumbline.__all__]; "
        "print(*[name for name in ('pyspark', 'kafka', 'mlflow', 'feature_repo', 'stack') if util.find_spec(name)])"
    )

    assert outside([python, "-c", probe], tmp_path).split() == []


def test_three_lines_of_a_stock_repo_give_right_windows_in_history_and_online(python, empty_redis, tmp_path):
    repo = shutil.copytree(EXAMPLE, tmp_path / "repo", ignore=shutil.ignore_patterns("data", "__pycache__"))
    configuration = repo / "feature_store.yaml"
    configuration.write_text(configuration.read_text().replace("localhost:6379", empty_redis))

    printed = outside([python, repo / "run.py"], tmp_path)

    rows = [line.split() for line in printed.splitlines() if re.match(r"100\d +\w", line)]
    answers = {(int(driver), feature): values for driver, feature, *values in rows}
    trips = events(repo / "data" / "trips.parquet")
    assert {feature for _, feature in answers} == {*WINDOWS, "conv_rate", "avg_daily_trips"}
    assert {driver for driver, _ in answers} == {1001, 1002}
    for (driver, feature), values in answers.items():
        if feature in WINDOWS:
            column, function, window = WINDOWS[feature]
            slide = naive.default_slide(window)
            expected = [naive.value(function, column, window, slide, trips, {"driver_id": driver}, at) for at in INSTANTS]
            assert (driver, feature, [int(value) for value in values]) == (driver, feature, expected)
    stats = events(repo / "data" / "driver_stats.parquet")
    for driver in (1001, 1002):
        newest = [naive.newest(stats, {"driver_id": driver}, at, DAY)["avg_daily_trips"] for at in INSTANTS]
        assert [int(value) for value in answers[driver, "avg_daily_trips"]] == newest


@pytest.mark.long
def test_what_feast_init_writes_passes_feasts_own_walk_with_the_three_lines(python, empty_redis, tmp_path):
    outside([python.with_name("feast"), "init", "stock"], tmp_path)
    repo = tmp_path / "stock" / "feature_repo"
    ours = (EXAMPLE / "feature_store.yaml").read_text().replace("localhost:6379", empty_redis)
    ours = ours.replace("project: any_feast_repo", "project: stock")
    (repo / "feature_store.yaml").write_text(ours)

    walked = outside(["env", f"PATH={python.parent}:{os.environ['PATH']}", python, "test_workflow.py"], repo)

    steps = re.split(r"^--- .* ---$", walked, flags=re.MULTILINE)
    pushed = [line.split(" : ")[1].strip() for line in steps[-2].splitlines() if line.startswith("avg_daily_trips")]
    assert len(pushed) == 1
    assert pushed[0].startswith("[1000, ")


def events(path: Path) -> list[dict]:
    """Rows of a Parquet file as the definition takes them."""
    rows = pq.read_table(path).to_pylist()
    for row in rows:
        row["created_timestamp"] = row.pop("created")
        for name in ("event_timestamp", "created_timestamp"):
            row[name] = round(row[name].timestamp() * 1_000_000)
    return rows
