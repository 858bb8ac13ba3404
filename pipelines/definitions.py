"""The definitions as they read what was loaded, registered by Feast's own command line."""

import os
import subprocess
import sys
from pathlib import Path

from feature_repo import REPO_PATH, store_environment
from feature_repo.settings import Settings
from pipelines.ingest.refusals import LoadRefused


def apply_definitions(settings: Settings) -> None:
    """`feast apply` for the data directory of `settings`. Raises LoadRefused with Feast's last line where it refuses."""
    feast = Path(sys.executable).parent / "feast"
    environment = {**os.environ, **store_environment(settings)}
    done = subprocess.run([feast, "-c", REPO_PATH, "apply"], env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LoadRefused(f"feast apply failed: {(done.stdout + done.stderr).strip().splitlines()[-1]}")
