"""The platform's processes import Feast as it is written; Feast's own commands check declarations as ever."""

import os
import subprocess
import sys

import pytest

from feature_repo.settings import PROJECT_ROOT
from feature_repo.unchecked_feast import AS_SHIPPED

IS_CHECKED = "import feast; print(any('check_argument' in name for name in feast.FeatureView.__init__.__code__.co_names))"


def said(program: str, **variables: str) -> str:
    command, environment = [sys.executable, "-c", program], os.environ | variables
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("package", ["pipelines", "serving", "streaming"])
def test_a_process_of_the_platform_does_not_compile_feast_anew(package: str):
    assert said(f"import {package}; {IS_CHECKED}") == "False"


def test_a_store_that_is_opened_does_not_either():
    assert said(f"from feature_repo import open_store; open_store(); {IS_CHECKED}") == "False"


def test_a_benchmark_may_have_feast_as_it_is_shipped():
    assert said(f"import pipelines; {IS_CHECKED}", **{AS_SHIPPED: "1"}) == "True"


def test_feasts_own_command_line_loads_the_definitions_with_feasts_checks():
    assert said(f"import feast.cli.cli, feature_repo.definitions; {IS_CHECKED}") == "True"
