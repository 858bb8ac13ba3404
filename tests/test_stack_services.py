"""Folds of one kind make way for those of the other, and for nothing else; a wrong setting is told in a sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from feature_repo.settings import PROJECT_ROOT, Settings
from stack import processes, services
from stack.processes import Program


@pytest.fixture
def settings(tmp_path: Path):
    settings = Settings.from_env({"DATA_DIR": str(tmp_path)})
    yield settings
    processes.stop(processes.names(tmp_path), tmp_path)


def started(name: str, settings: Settings) -> Program:
    """A process of this name that only waits."""
    program = Program(name, [sys.executable, "-c", "import time; time.sleep(600)"], ready=lambda: True)
    processes.start(program, settings.data_dir)
    return program


def alive(settings: Settings) -> list[str]:
    return [name for name in processes.names(settings.data_dir) if processes.running(name, settings.data_dir)]


def test_the_folds_of_a_group_make_way_for_the_one_on_spark(settings: Settings):
    for name in ("fold", "fold-2", "archive"):
        started(name, settings)

    services.make_way([services.spark_fold(settings)], settings)

    assert alive(settings) == ["archive"]


def test_the_fold_on_spark_makes_way_for_those_of_a_group(settings: Settings):
    for name in (services.SPARK_FOLD, "archive"):
        started(name, settings)

    services.make_way([services.fold(settings), services.fold(settings, 2)], settings)

    assert alive(settings) == ["archive"]


def test_no_fold_makes_way_for_its_own_kind_or_for_an_archive(settings: Settings):
    for name in ("fold", "fold-2"):
        started(name, settings)

    services.make_way([services.fold(settings)], settings)
    services.make_way([services.archive(settings)], settings)

    assert alive(settings) == ["fold", "fold-2"]


@pytest.mark.parametrize("folds", ["0", "many", "-1"])
def test_a_number_of_folds_that_is_none_is_refused_with_what_is_allowed(folds: str):
    command = [sys.executable, "-m", "stack.services", "stream", f"--folds={folds}"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert f"FOLDS={folds} is neither a number above 0 nor spark" in done.stderr


@pytest.mark.parametrize("target", ["logs", "stop", "clean", "status"])
def test_a_setting_that_is_wrong_is_one_sentence_for_every_target(tmp_path: Path, target: str):
    wrong = {**os.environ, "DATA_DIR": str(tmp_path), "KAFKA_PORT": "abc"}

    done = subprocess.run(
        [sys.executable, "-m", f"stack.{target}"], env=wrong, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"make {target}: KAFKA_PORT")
    assert done.stderr.count("\n") == 1
