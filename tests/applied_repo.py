"""Feast's own command line as tests run it, and the feature repo applied by it to a registry of the test's own."""

import subprocess
import sys

from feature_repo import REPO_PATH, open_store
from feature_repo.settings import PROJECT_ROOT, Settings
from plumbline import FeatureStore
from stack import feast_cli

UNCHECKED = "import feature_repo.unchecked_feast; "
"""Without Feast's checks of types, which are two thirds of its start; test_unchecked_feast is about them."""

FEAST = [sys.executable, "-c", UNCHECKED + "from feast.cli.cli import cli; cli()"]
"""`feast`, to be run in the project's folder; the repo is given with --chdir."""


def apply_definitions(settings: Settings) -> FeatureStore:
    """Run `feast apply` with the settings and open the store."""
    done = subprocess.run(
        [sys.executable, "-c", UNCHECKED + feast_cli.AS_FEAST, "-c", REPO_PATH, "apply"],
        cwd=PROJECT_ROOT,
        env=feast_cli.environment_of(settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return open_store(settings)
