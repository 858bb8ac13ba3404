"""What every process of the project finds in its environment: UTC, the project's Java and Python."""

import os
import sys

from feature_repo.settings import PROJECT_ROOT, Settings
from stack.java import java_home


def settings_for(target: str) -> Settings:
    """The settings, or the end of `make <target>` with one sentence about the one that is wrong."""
    try:
        return Settings.from_env()
    except ValueError as problem:
        sys.exit(f"make {target}: {problem}")


def for_processes(settings: Settings) -> dict[str, str]:
    """This process's environment and what the project adds to it; raises java.NoJava."""
    return {
        **os.environ,
        "TZ": "UTC",
        "PYTHONUNBUFFERED": "1",
        "JAVA_HOME": str(java_home()),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "DATA_DIR": str(settings.data_dir),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT_ROOT), os.environ.get("PYTHONPATH")])),
    }
