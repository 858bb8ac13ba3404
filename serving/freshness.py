"""How far the features lag what happened, for Prometheus: records not applied yet, and since when a view stands still."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from serving.logs import LOGGER

EVERY_S = 5.0


class Freshness(Collector):
    """Looks at the platform's status now and then, so that a scrape waits for nothing.

    A view has no lag where no fold says how long its topic is, and no age before its positions were seen.
    """

    def __init__(self) -> None:
        self._views: dict[str, Any] = {}
        self._moved_at: dict[str, tuple[dict[str, int], float]] = {}

    async def run(self, status: Callable[[], dict[str, Any]]) -> None:
        """Until cancelled; status blocks, and gives what /v1/status answers."""
        while True:
            try:
                self.look(await asyncio.to_thread(status), time.monotonic())
            except Exception:  # noqa: BLE001  whatever it is: the figures stay as they were, and are asked for again
                LOGGER.warning("the status was not looked at", exc_info=True)
            await asyncio.sleep(EVERY_S)

    def look(self, status: dict[str, Any], now_s: float) -> None:
        """Take over a status that was asked for at `now_s`, on a clock that only goes forward."""
        self._views = status["views"]
        for name, view in self._views.items():
            before = self._moved_at.get(name)
            if before is None or before[0] != view["positions"]:
                self._moved_at[name] = view["positions"], now_s

    def describe(self) -> Iterator[Metric]:
        yield from _families()

    def collect(self) -> Iterator[Metric]:
        lag, age = families = _families()
        for name, view in self._views.items():
            if view["lag_records"] is not None:
                lag.add_metric([name], view["lag_records"])
            if view["positions"]:
                age.add_metric([name], time.monotonic() - self._moved_at[name][1])
        yield from families


def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
    return (
        GaugeMetricFamily("plumbline_view_lag_records", "Records of its topic that a view lacks", labels=["view"]),
        GaugeMetricFamily(
            "plumbline_view_position_age_seconds", "Since when the view's positions have not moved, as this process saw it",
            labels=["view"],
        ),
    )  # fmt: skip
