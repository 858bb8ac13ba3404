"""How the platform is doing, as far as this process can see: the fold, the views' positions, the last parity run."""

import json
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from feature_repo.settings import LOOPBACK, Settings
from plumbline import FeatureStore, StoreUnavailable
from serving.links import links

TIMEOUT_S = 0.2
LASTS_S = 1.0
"""How long a status is told again: however many watch, the store is asked once a second."""


class Status:
    """Blocks for some milliseconds; a part that is away is said to be, and fails nothing."""

    def __init__(self, settings: Settings, store: FeatureStore) -> None:
        self._settings, self._store = settings, store
        self._known: dict[str, Any] = {}
        self._known_at = -LASTS_S

    def check(self) -> dict[str, Any]:
        """The body of /v1/status but for the models."""
        if time.monotonic() - self._known_at > LASTS_S:
            self._known = self._look()
            self._known_at = time.monotonic()
        return self._known

    def _look(self) -> dict[str, Any]:
        folds = _folds(self._settings)
        ends = _ends(folds)
        views = self._views(ends)
        return {
            "store": "away" if views is None else "ok",
            "views": views or {},
            "folds": folds,
            "parity": _report(self._settings.reports_path / "parity.json"),
            "links": links(self._settings),
        }

    def _views(self, ends: dict[str, dict[str, int]]) -> dict[str, Any] | None:
        """Each windowed view's position by partition, and how many records of its topic it lacks, as the fold knows it."""
        views = [view for view in self._store.list_stream_feature_views(allow_cache=True) if view.online]
        try:
            return {view.name: self._view(view, ends) for view in sorted(views, key=lambda view: view.name)}
        except StoreUnavailable:
            return None

    def _view(self, view: Any, ends: dict[str, dict[str, int]]) -> dict[str, Any]:
        positions = {str(partition): offset for partition, offset in self._store.positions(view.name).items()}
        topic = view.stream_source.name if view.stream_source is not None else ""
        of_topic = ends.get(topic, {})
        lag = [max(0, end - positions.get(partition, -1)) for partition, end in of_topic.items()]
        return {"topic": topic, "positions": positions, "lag_records": sum(lag) if lag else None}


def _folds(settings: Settings) -> list[dict[str, Any]]:
    """What each fold on this machine says of itself; none where none answers."""
    started = len(list(settings.run_dir.glob("fold*.pid")))
    folds = []
    for port in range(settings.fold_metrics_port, settings.fold_metrics_port + max(1, started)):
        with (
            suppress(OSError, ValueError),
            urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=TIMEOUT_S) as it,
        ):
            folds.append(_fold(it.read().decode()))
    return folds


def _fold(text: str) -> dict[str, Any]:
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def of(name: str) -> list[Any]:
        return [sample for sample in samples if sample.name == f"plumbline_fold_{name}"]

    by_partition: dict[str, dict[str, Any]] = {name: {} for name in ("lag_records", "position")}
    for name, by_topic in by_partition.items():
        for sample in of(name):
            by_topic.setdefault(sample.labels["topic"], {})[sample.labels["partition"]] = int(sample.value)
    counts = ("applied_events", "duplicate_events", "too_late_events", "replayed_events", "dead_letters", "positions_lost")
    return {
        **by_partition,
        **{name: int(sum(sample.value for sample in of(f"{name}_total"))) for name in counts},
        "store_up": all(sample.value for sample in of("store_up")),
        "freshness_ms": _quantiles([(float(s.labels["le"]), s.value) for s in of("freshness_seconds_bucket")]),
    }


def _quantiles(buckets: Sequence[tuple[float, float]]) -> dict[str, float] | None:
    """Upper bounds in milliseconds of the median and the 99th percentile since the fold started; None without events."""
    total = max((count for _, count in buckets), default=0.0)
    if not total:
        return None
    bounds = {f"p{percent}": next(le for le, count in buckets if count >= total * percent / 100) for percent in (50, 99)}
    return {name: bound * 1e3 for name, bound in bounds.items() if bound != float("inf")}


def _ends(folds: Sequence[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Topic -> partition -> offset of the last record in it, from what the folds are behind."""
    ends: dict[str, dict[str, int]] = {}
    for fold in folds:
        for topic, lags in fold["lag_records"].items():
            for partition, lag in lags.items():
                ends.setdefault(topic, {})[partition] = fold["position"].get(topic, {}).get(partition, -1) + lag
    return ends


def _report(path: Path) -> Any:
    """A report as its program wrote it; None where it was never run."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
