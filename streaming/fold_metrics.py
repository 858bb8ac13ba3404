"""What the fold tells Prometheus, at http://$METRICS_HOST:$FOLD_METRICS_PORT/metrics."""

import contextlib
import time

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600)


class FoldMetrics:
    """The fold's figures, each in a registry of its own so that two folds in one process do not meet."""

    def __init__(self) -> None:
        disable_created_metrics()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.lag = self._gauge("lag_records", "Records of the partition that are not folded yet.", "topic", "partition")
        self.position = self._gauge(
            "position", "Offset up to which every record of the partition is folded.", "topic", "partition"
        )
        self.waiting = self._gauge(
            "waiting",
            "1 while the partition is not read because its next record is not in the topic (see the log).",
            "topic",
            "partition",
        )
        self.applied = self._counter("applied_events", "Events whose effect is in the online store.", "topic")
        self.duplicates = self._counter("duplicate_events", "Re-deliveries of an event_id, counted by no window.", "topic")
        self.too_late = self._counter(
            "too_late_events",
            "Events that arrived later than the log's allowed lateness, counted by no window.",
            "topic",
        )
        self.replayed = self._counter(
            "replayed_events", "Events read again after a restart; no view counts them twice.", "topic"
        )
        self.unreadable = self._counter(
            "unreadable_states",
            "Damaged states that were met and left as they are; whoever reads one is told, `make materialize` repairs it.",
            "topic",
        )
        self.dead_letters = self._counter(
            "dead_letters", "Records written to transactions.dead-letter, by why: refused or too_late.", "topic", "why"
        )
        self.batch_seconds = self._histogram("batch_seconds", "From the poll of a micro-batch to its positions moved.")
        self.freshness_seconds = self._histogram(
            "freshness_seconds", "From the append of a micro-batch's oldest event to its effect being readable."
        )
        self.store_up = self._gauge("store_up", "1 when the online store answered the last call, else 0.")
        self.positions_lost = self._counter(
            "positions_lost",
            "Times the store's positions were not those last written and reading resumed from the store's.",
        )

    def begin(self, topic: str) -> None:
        """Show a topic's counts from zero, so that a first dead letter is seen as a rise."""
        for counter in (self.applied, self.duplicates, self.too_late, self.replayed, self.unreadable):
            counter.labels(topic)
        for why in ("refused", "too_late"):
            self.dead_letters.labels(topic, why)

    def forget(self, topic: str, partition: int) -> None:
        """Say nothing more about a partition that is another fold's now."""
        for gauge in (self.lag, self.position, self.waiting):
            with contextlib.suppress(KeyError):
                gauge.remove(topic, str(partition))

    def observe_batch(self, began_at: float, oldest_created_us: int | None) -> None:
        """began_at: time.monotonic() at the poll; oldest_created_us: append time, microseconds; None without events."""
        self.batch_seconds.observe(time.monotonic() - began_at)
        if oldest_created_us is not None:
            self.freshness_seconds.observe(max(0.0, time.time() - oldest_created_us / 1e6))

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"plumbline_fold_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"plumbline_fold_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"plumbline_fold_{name}", text, buckets=SECONDS, registry=self.registry)
