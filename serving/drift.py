"""Whether what is served is still distributed as when the model was made, and how much of it has decayed."""

import time
from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from feature_repo.population import SCORE
from plumbline.durations import microseconds
from serving.model_file import Model

KEPT = 4_096
"""The latest answers of a model that are looked at."""
FEWEST = 200
"""With fewer, chance alone moves the index by more than 0.1."""
LASTS_S = 10.0


class Drift(Collector):
    """Keeps the latest rows and scores of each model that is served, and tells Prometheus of them when asked.

    A model made before contracts held distributions has no index.
    """

    def __init__(self) -> None:
        self._latest: dict[str, tuple[Model, deque[np.ndarray]]] = {}
        self._told: list[Metric] = []
        self._told_at = -LASTS_S

    def seen(self, model: Model, rows: np.ndarray, scores: Sequence[float]) -> None:
        """Remember answers: rows (n, features) as the model took them, scores (n,). Cheap; called from any thread."""
        of, latest = self._latest.get(model.name, (None, None))
        if latest is None or of is None or of.version != model.version:
            latest = deque(maxlen=KEPT)
            self._latest[model.name] = model, latest
        latest.extend(np.column_stack([rows, scores]))

    def describe(self) -> Iterator[Metric]:
        yield from _families()

    def collect(self) -> Iterator[Metric]:
        """The figures of the latest answers, computed every ten seconds at most."""
        if time.monotonic() - self._told_at > LASTS_S:
            self._told, self._told_at = self._figures(), time.monotonic()
        yield from self._told

    def _figures(self) -> list[Metric]:
        stability, decayed = families = _families()
        for name, (model, latest) in list(self._latest.items()):
            rows = np.array(list(latest))
            if len(rows) < FEWEST:
                continue
            for feature, column in zip([*model.features, SCORE], rows.T, strict=True):
                if feature in model.distribution:
                    stability.add_metric([name, model.version, feature], model.distribution[feature].stability(column))
            share = decayed_share(model.features, rows)
            if share is not None:
                decayed.add_metric([name], share)
        return list(families)


def decayed_share(features: Sequence[str], rows: np.ndarray) -> float | None:
    """Of the shorter windows of counts whose longest one still holds events, the share that hold none any more; None
    without such windows. A store whose values do not decay would still answer the last count in all of these.
    """
    columns: dict[str, list[tuple[int, int]]] = {}
    for place, feature in enumerate(features):
        counted, of_count, window = feature.rpartition("_count_")
        if of_count and window[-1:].isalpha() and window[:-1].isdecimal():
            columns.setdefault(counted, []).append((microseconds(window), place))
    empty = asked = 0
    for windows in columns.values():
        *shorter, longest = (place for _, place in sorted(windows))
        active = rows[rows[:, longest] > 0][:, shorter]
        empty, asked = empty + int((active == 0).sum()), asked + active.size
    return empty / asked if asked else None


def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
    return (
        GaugeMetricFamily(
            "plumbline_population_stability", "PSI of the latest answers against the distribution the model was made on",
            labels=["model", "version", "feature"],
        ),
        GaugeMetricFamily(
            "plumbline_decayed_share", "Of shorter windows whose longest one holds events, the share that are empty by now",
            labels=["model"],
        ),
    )  # fmt: skip
