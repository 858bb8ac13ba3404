"""Run as a program: histories on two executor processes, with every entity of several rows split; what differs, as JSON.

python tests/spark_cluster.py FOLDER REDIS
"""

import json
import os
import sys
from collections import Counter
from pathlib import Path

import pyspark
from engine_lab import Lab, differences, history
from test_engine_spark import apart, drawn

from plumbline import entity_split, spark


def main(folder: Path, redis: str) -> None:
    os.environ["SPARK_HOME"] = str(Path(pyspark.__file__).parent)  # the executors are started from there
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    entity_split.PART_ROWS = 4
    spark.BUCKET_ROWS = range(100, 200)
    log = folder / "spark-events"
    log.mkdir(parents=True)
    both = {"spark.scheduler.minRegisteredResourcesRatio": "1.0", "spark.scheduler.maxRegisteredResourcesWaitingTime": "300s"}
    logged = {"spark.eventLog.enabled": "true", "spark.eventLog.compress": "false", "spark.eventLog.dir": log.as_uri()}
    conf = both | logged | {"spark.ui.showConsoleProgress": "false"}
    engine = f'engine: spark, spark_master: "local-cluster[2,1,1024]", spark_conf: {json.dumps(conf)}'
    lab = Lab(folder / "repo", redis, engine)
    store = lab.applied()
    recorded = [apart(number, one) for number, one in enumerate(drawn(4))]
    lab.write(event for one in recorded for event in one.events)
    answers = history(store, [row for one in recorded for row in one.rows], as_known=True).to_arrow()
    rows = iter(answers.to_pylist())
    found = [
        difference
        for one in recorded
        for difference in differences([next(rows) for _ in one.rows], one.events, one.rows, as_known=True)
    ]
    spark.session(store.config.offline_store).stop()
    print(json.dumps({"differences": found, "rows": answers.num_rows, "tasks": tasks_by_executor(log)}))


def tasks_by_executor(log: Path) -> Counter:
    """How many tasks each executor ended, from Spark's own event log."""
    lines = (line for file in log.rglob("events_*") for line in file.read_text().splitlines())
    events = (json.loads(line) for line in lines if "SparkListenerTaskEnd" in line)
    return Counter(event["Task Info"]["Executor ID"] for event in events)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
