"""What the alerts tell Prometheus, at http://$METRICS_HOST:$ALERTS_METRICS_PORT/metrics."""

from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, disable_created_metrics


class AlertMetrics:
    """The figures of both judges, `rules` and `scores`, in a registry of its own."""

    def __init__(self) -> None:
        disable_created_metrics()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.alerts = Counter("plumbline_alerts", "Alerts written to the topic, by rule.", ["rule"], registry=self.registry)
        self.judged = Counter("plumbline_alerts_judged_events", "Events judged.", ["by"], registry=self.registry)
        self.not_judged = Counter(
            "plumbline_alerts_not_judged_events",
            "Events that could not be judged, by why: too old to be read as of their time, no model.",
            ["by", "why"],
            registry=self.registry,
        )
        self.lag = self._gauge("lag_records", "Records of the topic that are not judged yet.")
        self.following = self._gauge("following", "1 once the topic is followed.")
        self.able = self._gauge("able", "1 when store and API answered the last question, else 0.")

    def count(self, judge: str, judged: Sequence[Any], rules: Sequence[str]) -> None:
        """judged holds an exception where an event could not be judged; rules are those of the alerts written."""
        failures = [str(each) for each in judged if isinstance(each, Exception)]
        self.judged.labels(judge).inc(len(judged) - len(failures))
        for why in failures:
            self.not_judged.labels(judge, why).inc()
        for rule in rules:
            self.alerts.labels(rule).inc()

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"plumbline_alerts_{name}", text, ["by"], registry=self.registry)
