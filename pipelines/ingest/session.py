"""The loader's Spark session: local by default, on loopback, in UTC, with this Python in its workers."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from feature_repo.settings import LOOPBACK, PROJECT_ROOT, Settings
from pipelines.ingest.refusals import LoadRefused

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

EMBEDDED_JAVA = PROJECT_ROOT / ".parts" / "java"
QUIET = (Path(__file__).parent / "log4j2.properties").as_uri()
SMALL_BYTES = 200_000_000
ROWS_PER_FILE = 2_000_000


def spark_session(settings: Settings, scratch: Path, source_bytes: int) -> "SparkSession":
    """A session on `settings.spark_master`; `scratch` takes its warehouse and spill files.

    For small sources the JVM only uses its quick compiler: half the processor time of a load of seconds (measured).

    Raises LoadRefused when no Java is found. Sets PYSPARK_PYTHON, and PYTHONPATH so that workers find the project.
    """
    _find_java()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(PROJECT_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    java_options = [f"-Dlog4j2.configurationFile={QUIET}"]
    if source_bytes < SMALL_BYTES:
        java_options.append("-XX:TieredStopAtLevel=1")
    from pyspark.sql import SparkSession  # seconds to import, and only here

    builder = SparkSession.builder.master(settings.spark_master)
    if settings.spark_master.startswith("local"):
        builder = builder.config("spark.driver.host", LOOPBACK).config("spark.driver.bindAddress", LOOPBACK)
    return (
        builder.appName("plumbline-load")
        .config("spark.driver.memory", "1g")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.extraJavaOptions", " ".join(java_options))
        .config("spark.local.dir", str(scratch))
        .config("spark.sql.warehouse.dir", str(scratch / "warehouse"))
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "8")
        .config("spark.executorEnv.PYTHONPATH", str(PROJECT_ROOT))
        .getOrCreate()
    )


@contextmanager
def opened(spark: "SparkSession | None", settings: Settings, scratch: Path, source_bytes: int) -> Iterator["SparkSession"]:
    """`spark` itself, or a session of its own that is stopped at the end."""
    session = spark or spark_session(settings, scratch / "spark", source_bytes)
    try:
        yield session
    finally:
        if spark is None:
            session.stop()


def _find_java() -> None:
    if os.environ.get("JAVA_HOME") or shutil.which("java"):
        return
    if not (EMBEDDED_JAVA / "bin" / "java").exists():
        raise LoadRefused("Spark needs Java 17 or newer; none is on PATH and JAVA_HOME is not set. Run `make setup`.")
    os.environ["JAVA_HOME"] = str(EMBEDDED_JAVA)
