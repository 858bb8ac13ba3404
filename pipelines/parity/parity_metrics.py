"""What the background check tells Prometheus, at http://$METRICS_HOST:$PARITY_METRICS_PORT/metrics."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipelines.parity.tally import Tally


class ParityMetrics(Collector):
    """The tally's totals, as they are when Prometheus asks."""

    def __init__(self, tally: Tally) -> None:
        self._tally, self.checked_at_s = tally, 0.0

    def collect(self) -> Iterator[Metric]:
        tally = self._tally
        verdicts = {
            "equal": tally.equal,
            "different": tally.different,
            "pending": len(tally.pending),
            "unverifiable": sum(tally.unverifiable.values()),
        }
        answers = GaugeMetricFamily(
            "plumbline_parity_answers", "Logged answers by what the event log says of them.", labels=["verdict"]
        )
        for verdict, count in verdicts.items():
            answers.add_metric([verdict], count)
        mismatches = GaugeMetricFamily(
            "plumbline_parity_mismatches",
            "Served values that the event log contradicts, by cause; must be 0.",
            labels=["cause"],
        )
        for cause, count in tally.mismatches.items():
            mismatches.add_metric([cause], count)
        yield answers
        yield mismatches
        yield GaugeMetricFamily("plumbline_parity_values", "Served values that were recomputed and compared.", tally.values)
        yield GaugeMetricFamily(
            "plumbline_parity_checked_timestamp_seconds", "When the last check ended, Unix time; 0 before.", self.checked_at_s
        )
