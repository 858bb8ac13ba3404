"""`python -m streaming.fold`: records of the topics become state of the online store, each once in effect."""

import contextlib
import gc
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from kafka import KafkaConsumer
from kafka.errors import KafkaError

from feature_repo import metrics_page
from feature_repo.kafka_address import client_options
from feature_repo.settings import Settings
from streaming.begin import begin
from streaming.dead_letters import DeadLetters
from streaming.event_topics import EVENT_TOPICS
from streaming.fold_metrics import FoldMetrics
from streaming.membership import Membership
from streaming.parity_figures import ParityFigures
from streaming.patience import Patience, Stopped
from streaming.spark_session import NoConnector
from streaming.topic_checks import TopicRefused, require_topics

if TYPE_CHECKING:
    from plumbline import FeatureStore
    from streaming.folding import Folding

CLOSE_WITHIN_MS = 5_000

log = logging.getLogger("fold")


def run(settings: Settings, metrics: FoldMetrics, stop: threading.Event) -> None:
    """Fold until `stop` is set; a broker or a store that is away is waited for. Raises TopicRefused."""
    from feature_repo import open_store  # Feast, once imported, decides how prometheus_client keeps its values

    warnings.filterwarnings("ignore", category=RuntimeWarning, module="feast")  # stream views are "experimental" to it
    patience = Patience(stop)
    with contextlib.suppress(Stopped):
        patience.keep_trying(lambda: require_topics(settings.kafka_bootstrap_servers), KafkaError, "Kafka")
        with open_folding(settings, open_store(settings), metrics, patience) as folding:
            tune_interpreter()
            while not stop.is_set():
                folding.step()
            folding.report()
    log.info("stopped; the positions are in the store")


@contextlib.contextmanager
def open_folding(settings: Settings, store: "FeatureStore", metrics: FoldMetrics, patience: Patience) -> Iterator["Folding"]:
    """The fold of a process: a consumer, a member of the folds' group and a writer of dead letters, closed with the block."""
    from streaming.folding import Folding  # imports Feast
    from streaming.sources import Sources

    servers, group = settings.kafka_bootstrap_servers, settings.fold_group
    with contextlib.ExitStack() as opened:
        consumer, dead_letters = open_consumer(servers, group), DeadLetters(servers)
        opened.callback(consumer.close, autocommit=False, timeout_ms=CLOSE_WITHIN_MS)
        opened.callback(dead_letters.close)
        membership = Membership(servers, group, [topic.name for topic in EVENT_TOPICS])
        opened.callback(membership.close)
        yield Folding(Sources(store), consumer, membership, dead_letters, metrics, patience)


def tune_interpreter() -> None:
    """For a process that folds. What was imported stays: a search of it for garbage would take longer than a batch. And who
    has the store's answer goes on after half a millisecond of another thread's, not after Python's five.
    """
    gc.freeze()
    sys.setswitchinterval(0.0005)


def open_consumer(bootstrap_servers: str, group: str) -> KafkaConsumer:
    """A consumer that reads only what it is assigned and told to seek to; it may ask for the group's offsets."""
    return KafkaConsumer(
        **client_options(bootstrap_servers),
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        reconnect_backoff_max_ms=2_000,
        allow_auto_create_topics=False,
    )


def main(fold: Callable[[Settings, FoldMetrics, threading.Event], None] = run) -> int:
    """Entry point of a fold, here or on Spark; 0 after SIGTERM or SIGINT, 1 with one clear line when it cannot begin."""
    stop = begin()
    settings, metrics = Settings.from_env(), FoldMetrics()
    metrics.registry.register(ParityFigures(settings.reports_path / "parity.json"))
    try:
        metrics_page.serve(metrics.registry, settings.metrics_host, settings.fold_metrics_port, "FOLD_METRICS_PORT")
        fold(settings, metrics, stop)
    except (TopicRefused, NoConnector, metrics_page.PortTaken) as error:
        print(f"fold: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
