"""The Spark session that both sides of a comparison use."""

import logging

from pyspark.sql import SparkSession

from feature_repo.settings import LOOPBACK


def start(folder: str) -> SparkSession:
    """Two threads, 4 GB, UTC, eight shuffle partitions, nothing listening beyond loopback."""
    settings = {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "8",
        "spark.sql.warehouse.dir": f"{folder}/warehouse",
        "spark.driver.memory": "4g",
        "spark.driver.maxResultSize": "0",
        "spark.driver.host": LOOPBACK,
        "spark.driver.bindAddress": LOOPBACK,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    builder = SparkSession.builder.master("local[2]").appName("plumbline-bench")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    logging.getLogger("py4j").setLevel(logging.ERROR)
    return session
