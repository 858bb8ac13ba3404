"""What Prometheus is told. Labels are route templates, model names and outcomes, never ids or paths."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from serving.drift import Drift
from serving.freshness import Freshness

LATENCY_BUCKETS_S = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
SCORE_BUCKETS = tuple(tenth / 10 for tenth in range(1, 11))
METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"})


class Metrics:
    """The service's metrics in a registry of their own (Feast fills the global one)."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "plumbline_http_requests_total", "Requests answered", ["method", "route", "status"], registry=registry
        )
        self.latency = Histogram(
            "plumbline_http_request_seconds", "From request to answer", ["route"],
            buckets=LATENCY_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self.store_reads = Histogram(
            "plumbline_store_read_seconds", "One read of the online store", buckets=LATENCY_BUCKETS_S, registry=registry
        )
        self.overflows = Counter(
            "plumbline_overflowed_values_total", "Integers that left their type and were answered as null", registry=registry
        )
        self.store_failures = Counter(
            "plumbline_store_failures_total", "Requests refused because of the store", ["cause"], registry=registry
        )
        self.batches = Histogram(
            "plumbline_scored_together", "Requests scored by one read", buckets=(1, 2, 4, 8, 16), registry=registry
        )
        self.degraded = Counter(
            "plumbline_degraded_total", "Scores given without history because the store was away", ["model"], registry=registry
        )
        self.shed = Counter("plumbline_shed_total", "Scores refused at capacity, before their body was read", registry=registry)
        self.scores = Histogram("plumbline_score", "Scores given", ["model"], buckets=SCORE_BUCKETS, registry=registry)
        self.decisions = Counter("plumbline_decisions_total", "Decisions given", ["model", "decision"], registry=registry)
        self.logged = Counter(
            "plumbline_decision_log_total", "Decisions by where they went: sent, spooled, dropped", ["outcome"],
            registry=registry,
        )  # fmt: skip
        self.log_backlog = Gauge("plumbline_decision_log_backlog", "Decisions waiting in memory", registry=registry)
        self.spool_bytes = Gauge("plumbline_decision_spool_bytes", "Decisions waiting on disk", registry=registry)
        self.drift, self.freshness = Drift(), Freshness()
        registry.register(self.drift)
        registry.register(self.freshness)
        self.model = Gauge("plumbline_model_info", "The models being served", ["name", "version"], registry=registry)

        self.shadow = Counter(
            "plumbline_shadow_decisions_total", "Decisions of challengers, by whether the champion decided the same.",
            ["model", "same"], registry=registry,
        )  # fmt: skip
        self.champion_refused = Gauge(
            "plumbline_champion_refused", "1 while a newer champion is not served because it failed its check", ["name"],
            registry=registry,
        )  # fmt: skip

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)


def method_label(method: str) -> str:
    """A method as a label; anything unusual is OTHER, so that callers cannot make up labels."""
    return method if method in METHODS else "OTHER"
