"""The totals of the last `make parity`, beside the fold's own figures: what the online values are worth, in one place."""

import json
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class ParityFigures(Collector):
    """Reads reports/parity.json when Prometheus asks; there are no figures where nothing was checked yet."""

    def __init__(self, report: Path) -> None:
        self._report = report

    def collect(self) -> Iterator[Metric]:
        try:
            report, checked_at_s = json.loads(self._report.read_text()), self._report.stat().st_mtime
        except FileNotFoundError:
            return
        answers = GaugeMetricFamily(
            "plumbline_parity_report_answers", "Logged answers by what the event log says of them.", labels=["verdict"]
        )
        for verdict in ("equal", "different", "pending", "unverifiable"):
            answers.add_metric([verdict], report[verdict])
        mismatches = GaugeMetricFamily(
            "plumbline_parity_report_mismatches",
            "Served values that the log contradicts, by cause; must be 0.",
            labels=["cause"],
        )
        for cause, count in report["by_cause"].items():
            mismatches.add_metric([cause], count)
        yield answers
        yield mismatches
        yield GaugeMetricFamily("plumbline_parity_report_timestamp_seconds", "When parity was checked last.", checked_at_s)
