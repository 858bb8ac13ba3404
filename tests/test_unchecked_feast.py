"""The platform's processes import Feast as it is written; Feast's own commands check declarations as ever."""

import subprocess
import sys

import pytest

from feature_repo.settings import PROJECT_ROOT

IS_CHECKED = "import feast; print(any('check_argument' in name for name in feast.FeatureView.__init__.__code__.co_names))"


def said(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("package", ["pipelines", "serving", "streaming"])
def test_a_process_of_the_platform_does_not_compile_feast_anew(package: str):
    assert said(f"import {package}; {IS_CHECKED}") == "False"


def test_a_store_that_is_opened_does_not_either():
    assert said(f"from feature_repo import open_store; open_store(); {IS_CHECKED}") == "False"


def test_feasts_own_command_line_loads_the_definitions_with_feasts_checks():
    assert said(f"import feast.cli.cli, feature_repo.definitions; {IS_CHECKED}") == "True"
