"""`python -m streaming.archive`: Spark Structured Streaming copies the topics into the event log, each record once."""

import functools
import logging
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kafka.errors import KafkaError

from feature_repo.settings import Settings
from streaming import manifests
from streaming.begin import begin
from streaming.compaction import RowsChanged
from streaming.event_topics import EVENT_TOPICS
from streaming.patience import Patience, Stopped
from streaming.spark_session import NoConnector, open_spark
from streaming.topic_archive import TopicArchive
from streaming.topic_checks import TopicRefused, require_topics

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RECORDS_PER_FILE = 50_000
LOOK_EVERY_S = 0.5
PAUSE_AFTER_FAILURE_S = 3.0
FINISH_WITHIN_S = 15.0
COMPACT_EVERY_S = 600.0

log = logging.getLogger("archive")


def run(settings: Settings, stop: threading.Event) -> None:
    """Copy until `stop` is set; a query that fails (the broker is away, the disk is full) begins again after a pause.

    Raises TopicRefused, ArchiveRefused or NoConnector for what must not, or cannot, be copied as it is.
    """
    patience, servers = Patience(stop), settings.kafka_bootstrap_servers
    with ExitStack() as opened, suppress(Stopped):
        patience.keep_trying(lambda: require_topics(servers), KafkaError, "Kafka")
        patience.keep_trying(lambda: manifests.require_no_load(settings.run_dir), manifests.LoadRunning, "Event log")
        for topic in EVENT_TOPICS:
            opened.enter_context(manifests.only_archive_of(topic.log_path(settings)))
        spark = open_spark(settings, "plumbline-archive", RECORDS_PER_FILE)
        opened.callback(spark.stop)
        archives = [TopicArchive(topic, settings) for topic in EVENT_TOPICS]
        for archive in archives:
            patience.keep_trying(functools.partial(archive.start, spark), KafkaError, "Kafka")
            opened.callback(archive.stop, FINISH_WITHIN_S)
        compacted_at = -COMPACT_EVERY_S
        while not stop.wait(LOOK_EVERY_S):
            for archive in archives:
                _restart_if_failed(archive, spark, patience)
            if time.monotonic() - compacted_at >= COMPACT_EVERY_S:
                _compact(archives)
                compacted_at = time.monotonic()
    log.info("stopped; the manifests say how far the logs go")


def _restart_if_failed(archive: TopicArchive, spark: "SparkSession", patience: Patience) -> None:
    failure = archive.failure()
    if failure is not None:
        log.warning("%s: the query failed and begins again in %.0f s: %s", archive.name, PAUSE_AFTER_FAILURE_S, failure)
        patience.pause(PAUSE_AFTER_FAILURE_S)
        patience.keep_trying(functools.partial(archive.start, spark), KafkaError, "Kafka")


def _compact(archives: Sequence[TopicArchive]) -> None:
    """What cannot be compacted now (a full disk) stays as it is and is tried again."""
    for archive in archives:
        try:
            archive.compact(datetime.now(UTC))
        except (OSError, RowsChanged) as error:
            log.warning("%s: small files stay as they are: %s", archive.name, error)


def main() -> int:
    """Entry point; 0 after SIGTERM or SIGINT, 1 with one clear line when it must not go on."""
    stop = begin()
    try:
        run(Settings.from_env(), stop)
    except (TopicRefused, manifests.ArchiveRefused, NoConnector) as error:
        print(f"archive: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
