"""`python -m streaming.alerts`: rules and scores over live transactions become alerts, each once."""

import contextlib
import fcntl
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

from kafka.errors import KafkaError

from feature_repo import metrics_page
from feature_repo.settings import Settings
from streaming.alert_metrics import AlertMetrics
from streaming.begin import begin
from streaming.patience import Patience, Stopped
from streaming.topic_checks import TopicRefused, require_topics

log = logging.getLogger("alerts")


class AnotherWrites(RuntimeError):
    """A second process would write alerts that this one writes too."""


class Alerting:
    """The two judges on their way through the topic, each in a thread of its own and at its own pace.

    So rules go on while the API is away; events that wait for it longer than the store looks back are not scored.
    """

    def __init__(self, settings: Settings, metrics: AlertMetrics, stop: threading.Event) -> None:
        from streaming.alert_topic import AlertTopic

        self._settings, self._metrics, self._stop = settings, metrics, stop
        self._patience = Patience(stop)
        self._alerts = AlertTopic(settings.kafka_bootstrap_servers)

    def run(self) -> None:
        """Follow until stopped; when one judge fails both end. Raises TopicRefused, and what ended a judge."""
        servers = self._settings.kafka_bootstrap_servers
        with contextlib.suppress(Stopped):
            self._patience.keep_trying(lambda: require_topics(servers), KafkaError, "Kafka")
            with ThreadPoolExecutor(max_workers=2) as threads:
                following = [threads.submit(self._follow, name) for name in ("rules", "scores")]
                wait(following, return_when=FIRST_COMPLETED)
                self._stop.set()
            for judge in following:
                judge.result()
        self._alerts.close()
        log.info("stopped; the positions are in the consumer groups")

    def _follow(self, name: str) -> None:
        with contextlib.suppress(Stopped):
            self._follow_as(name)

    def _follow_as(self, name: str) -> None:
        from feature_repo import open_store  # Feast, once imported, decides how prometheus_client keeps its values
        from streaming.alert_follower import Follower
        from streaming.alert_judges import Judge, Rules, Scores

        store, servers = open_store(self._settings), self._settings.kafka_bootstrap_servers
        judge: Judge = Rules(store) if name == Rules.name else Scores(self._settings)
        follower = self._patience.keep_trying(
            lambda: Follower(servers, judge, store, self._alerts, self._metrics, self._patience), KafkaError, "Kafka"
        )
        try:
            follower.run(self._stop.is_set)
        finally:
            follower.close()


@contextlib.contextmanager
def only_alerts_of(run_dir: Path) -> Iterator[None]:
    """Hold the lock of this data directory's alerts; raises AnotherWrites."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / "alerts.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AnotherWrites("another process writes the alerts; stop it with `make stop`.") from None
        yield


def main() -> int:
    """Entry point; 0 after SIGTERM or SIGINT, 1 with one clear line when it cannot begin."""
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="feast")  # stream views are "experimental" to it
    stop = begin()
    settings, metrics = Settings.from_env(), AlertMetrics()
    try:
        metrics_page.serve(metrics.registry, settings.metrics_host, settings.alerts_metrics_port, "ALERTS_METRICS_PORT")
        with only_alerts_of(settings.run_dir):
            Alerting(settings, metrics, stop).run()
    except (TopicRefused, metrics_page.PortTaken, AnotherWrites) as error:
        print(f"alerts: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
