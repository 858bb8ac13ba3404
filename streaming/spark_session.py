"""A Spark session with the Kafka connector, for the archive and for the fold on Spark."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from feature_repo.settings import LOOPBACK, PROJECT_ROOT, Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CONNECTOR_JARS = PROJECT_ROOT / ".parts" / "jars" / "spark"
QUICK_START = "-XX:TieredStopAtLevel=1"
"""For Java: the work is in Python; a third less CPU to start."""

BYTES_PER_ARROW_BATCH = 64 * 1024 * 1024


class NoConnector(RuntimeError):
    """Spark's Kafka connector is not installed."""


def open_spark(settings: Settings, name: str, records_per_arrow_batch: int) -> "SparkSession":
    """A session on SPARK_MASTER with the Kafka connector, in UTC; raises NoConnector.

    records_per_arrow_batch  what a task of mapInArrow is handed at once, at most
    """
    import pyspark
    from pyspark.sql import SparkSession

    jars = sorted(CONNECTOR_JARS.glob("*.jar"))
    if not jars:
        raise NoConnector(f"Spark's Kafka connector is not in {CONNECTOR_JARS}. Run `make setup`.")
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PROJECT_ROOT), os.environ.get("PYTHONPATH")]))
    os.environ.setdefault("SPARK_HOME", str(Path(pyspark.__file__).parent))  # executors of a local cluster start from there
    options = {
        "spark.jars": ",".join(map(str, jars)),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.maxRecordsPerBatch": records_per_arrow_batch,
        "spark.sql.execution.arrow.maxBytesPerBatch": BYTES_PER_ARROW_BATCH,
        "spark.sql.streaming.numRecentProgressUpdates": 2,
        "spark.driver.memory": "1g",
        "spark.driver.extraJavaOptions": QUICK_START,
        "spark.executor.extraJavaOptions": QUICK_START,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **driver_address(settings.spark_master),
    }
    builder = SparkSession.builder.master(settings.spark_master).appName(name)
    for option, value in options.items():
        builder = builder.config(option, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def driver_address(master: str) -> dict[str, str]:
    """Executors of this machine reach the driver on loopback; those of a cluster at the address that Spark finds."""
    return {"spark.driver.host": LOOPBACK, "spark.driver.bindAddress": LOOPBACK} if master.startswith("local") else {}
