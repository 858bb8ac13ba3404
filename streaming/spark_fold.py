"""`python -m streaming.spark_fold`: the same fold inside Spark, for more traffic than the processes of a group carry."""

import functools
import logging
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, TypeVar

from kafka import KafkaConsumer, OffsetAndMetadata
from kafka.errors import KafkaError

from feature_repo.settings import Settings
from plumbline import StoreUnavailable
from streaming.fold import main, open_consumer
from streaming.fold_metrics import FoldMetrics
from streaming.patience import Patience, Stopped
from streaming.spark_session import open_spark
from streaming.topic_checks import require_topics

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from streaming.sources import Sources
    from streaming.topic_fold import TopicFold

RECORDS_PER_ARROW_BATCH = 5_000
"""As many as the folds of a group take at once."""
LOOK_EVERY_S = 0.5
LOOK_AROUND_S = 5.0
FINISH_WITHIN_S = 15.0
PAUSE_AFTER_FAILURE_S = 1.0

log = logging.getLogger("fold")

T = TypeVar("T")


def run_on_spark(settings: Settings, metrics: FoldMetrics, stop: threading.Event) -> None:
    """Fold on SPARK_MASTER until `stop` is set; what is away is waited for. Raises TopicRefused and NoConnector."""
    from feature_repo import open_store  # Feast, once imported, decides how prometheus_client keeps its values
    from streaming.sources import Sources

    patience, servers = Patience(stop), settings.kafka_bootstrap_servers
    with ExitStack() as opened, suppress(Stopped):
        patience.keep_trying(lambda: require_topics(servers), KafkaError, "Kafka")
        consumer = open_consumer(servers, settings.fold_group)
        opened.callback(consumer.close, autocommit=False)
        spark = open_spark(settings, "plumbline-fold", RECORDS_PER_ARROW_BATCH)
        opened.callback(spark.stop)
        folds = SparkFolds(Sources(open_store(settings)), settings, spark, consumer, metrics, patience)
        opened.callback(folds.stop)
        while not stop.wait(LOOK_EVERY_S):
            folds.look_around()
    log.info("stopped; the positions are in the store")


class SparkFolds:
    """A query for each topic that an applied view reads."""

    def __init__(
        self,
        sources: "Sources",
        settings: Settings,
        spark: "SparkSession",
        consumer: KafkaConsumer,
        metrics: FoldMetrics,
        patience: Patience,
    ) -> None:
        self._sources, self._settings, self._spark = sources, settings, spark
        self._consumer, self._metrics, self._patience = consumer, metrics, patience
        self._by_topic: dict[str, TopicFold] = {}
        self._looked_at = -LOOK_AROUND_S

    def look_around(self) -> None:
        """Restart queries that failed; every few seconds take up changed views, moved positions and new partitions."""
        for topic, fold in self._by_topic.items():
            if failure := fold.failure():
                log.warning("%s: the query ended and begins again: %s", topic, failure)
                self._patience.pause(PAUSE_AFTER_FAILURE_S)
                self._begin(fold)
        if time.monotonic() - self._looked_at >= LOOK_AROUND_S:
            self._take_up_changes()
            self._report()
            self._looked_at = time.monotonic()

    def stop(self) -> None:
        """End the queries after the batches at hand, and tell the group how far they came."""
        for fold in self._by_topic.values():
            fold.stop(FINISH_WITHIN_S)
        self._report()

    def _take_up_changes(self) -> None:
        from streaming.topic_fold import TopicFold

        for topic in self._sources.changed():
            if topic in self._by_topic:
                self._by_topic.pop(topic).stop(FINISH_WITHIN_S)
            if topic in self._sources.by_topic:
                self._metrics.begin(topic)
                source = self._sources.by_topic[topic]
                self._by_topic[topic] = TopicFold(source, self._settings, self._consumer, self._metrics)
                self._begin(self._by_topic[topic])
        for fold in self._by_topic.values():
            if self._reach(fold.must_begin_anew):
                self._begin(fold)

    def _begin(self, fold: "TopicFold") -> None:
        self._reach(functools.partial(fold.start, self._spark))

    def _reach(self, call: Callable[[], T]) -> T:
        def with_store() -> T:
            return self._patience.keep_trying(
                call, StoreUnavailable, "Online store", on_failure=lambda: self._metrics.store_up.set(0)
            )

        return self._patience.keep_trying(with_store, KafkaError, "Kafka")

    def _report(self) -> None:
        """Measure the lag, and commit as the group's offsets how far the records were read, unless the group has members."""
        with suppress(KafkaError):
            offsets = {p: offset for fold in self._by_topic.values() for p, offset in fold.measure().items()}
            if offsets:
                self._consumer.commit({p: OffsetAndMetadata(offset, "", -1) for p, offset in offsets.items()})


if __name__ == "__main__":
    sys.exit(main(run_on_spark))
