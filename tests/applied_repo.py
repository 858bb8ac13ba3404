"""The feature repo applied to a registry of the test's own, by Feast's own command line."""

import os
import subprocess
import sys
from pathlib import Path

from feature_repo import REPO_PATH, open_store, store_environment
from feature_repo.settings import Settings
from plumbline import FeatureStore


def apply_definitions(settings: Settings) -> FeatureStore:
    """Run `feast apply` with the settings and open the store."""
    done = subprocess.run(
        [Path(sys.executable).parent / "feast", "-c", REPO_PATH, "apply"],
        env={**os.environ, **store_environment(settings)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return open_store(settings)
