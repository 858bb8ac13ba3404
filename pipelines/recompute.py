"""Recompute a logged answer from the event log: the events before its instant, up to its positions, nothing else."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureView
from feast.on_demand_feature_view import OnDemandFeatureView

from plumbline import FeatureStore
from plumbline.event_log import history_generation, log_positions, read_events, read_rows
from plumbline.point_in_time import evaluate
from plumbline.spec import is_windowed, log_source
from plumbline.view_spec import ViewSpec, WindowSpec

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RELATIVE_TOLERANCE = 1e-9
SUM_TOLERANCE = 1e-15
STD_TOLERANCE = 3e-15
"""Design, section 2: floats agree within 1e-9, or 1e-15 of the sum of magnitudes, std 3e-15 of the largest one."""


class NotYetInLogError(RuntimeError):
    """The log does not reach an answer's positions yet; the archive is behind."""


class UnverifiableError(RuntimeError):
    """The log cannot say: the history was replaced since, or the answer rests on pushed rows."""


@dataclass(frozen=True)
class Compared:
    """One feature of an answer: as served and as recomputed."""

    feature: str
    online: object
    offline: object
    equal: bool


def compare(store: FeatureStore, answer: Mapping[str, Any]) -> list[Compared]:
    """Every feature of an answer against the log, in the answer's order.

    answer  a record of topic `decisions`: entity_row, as_of (RFC 3339), positions, features (full names)

    Integers and text must be equal, floats agree by the rules of parity. Raises NotYetInLogError or UnverifiableError.
    """
    again = _Recomputation(store, answer)
    online = answer["features"]
    return [
        Compared(name, online[name], value, _equal(online[name], value, again.tolerances.get(name, 0.0)))
        for name, value in ((name, again.value(name)) for name in online)
    ]


def recompute(store: FeatureStore, answer: Mapping[str, Any]) -> dict[str, object]:
    """Full name -> value for every feature of an answer, from the log alone; see compare()."""
    again = _Recomputation(store, answer)
    return {name: again.value(name) for name in answer["features"]}


class _Recomputation:
    """The values of the views that one answer needs, each view computed when first asked for."""

    def __init__(self, store: FeatureStore, answer: Mapping[str, Any]) -> None:
        self._store, self._positions, self._row = store, answer["positions"], answer["entity_row"]
        self._at = datetime.fromisoformat(answer["as_of"])
        self._views: dict[str, dict[str, object]] = {}
        self.tolerances: dict[str, float] = {}

    def value(self, full_name: str) -> object:
        view, _, feature = full_name.partition("__")
        if view not in self._views:
            self._views[view] = self._of_view(self._store.registry.get_any_feature_view(view, self._store.project))
        return self._views[view][feature]

    def _of_view(self, view: Any) -> dict[str, object]:
        if isinstance(view, OnDemandFeatureView):
            return self._on_demand(view)
        return self._windowed(self._store.layout(view.name).spec) if is_windowed(view) else self._slowly_changing(view)

    def _windowed(self, spec: ViewSpec) -> dict[str, object]:
        events = events_at(spec, self._positions[spec.name], self._row, self._at)
        keys = pa.table({key: pa.array([self._row[key]], pa.string()) for key in spec.join_keys})
        at = pa.array([self._at], pa.timestamp("us", tz="UTC"))
        for window in spec.windows:
            self.tolerances[f"{spec.name}__{window.name}"] = _tolerance(window, events)
        return evaluate(events, spec, keys, at, as_known=False).to_pylist()[0]

    def _slowly_changing(self, view: FeatureView) -> dict[str, object]:
        names, keys = [field.name for field in view.features], view.join_keys
        rows = read_rows(log_source(view, self._store.repo_path), names, join_keys=keys)
        within = pc.less_equal(rows["event_timestamp"], pa.scalar(self._at))
        if view.ttl:
            within = pc.and_(within, pc.greater_equal(rows["event_timestamp"], pa.scalar(self._at - view.ttl)))
        for key in keys:
            within = pc.and_kleene(within, pc.equal(rows[key], pa.scalar(self._row[key], rows[key].type)))
        newest = rows.filter(within).sort_by([("event_timestamp", "ascending"), ("created_timestamp", "ascending")])
        return newest.select(names).to_pylist()[-1] if newest.num_rows else dict.fromkeys(names)

    def _on_demand(self, view: OnDemandFeatureView) -> dict[str, object]:
        inputs = {name: [value] for name, value in self._row.items()}
        for source in view.source_feature_view_projections.values():
            for field in source.features:
                full_name = f"{source.name_to_use()}__{field.name}"
                inputs[full_name] = [self.value(full_name)]
        return {name: values[0] for name, values in view.transform_dict(inputs).items()}


def events_at(spec: ViewSpec, positions: Mapping[str, Any], row: Mapping[str, Any], at: datetime) -> pa.Table:
    """The accepted events of an entity that an answer counts: before `at`, and at or before its positions.

    Of an entity row with a null key nothing is asked: it has the empty history.
    """
    if any(row[key] is None for key in spec.join_keys):
        return read_events(spec.source, spec.columns, join_keys=spec.join_keys, until_us=0)
    if "push" in positions:
        raise UnverifiableError(f"{spec.name} rests on rows that were pushed beside the topic.")
    generation, known = positions.get("history", 0), history_generation(spec.source)
    if generation != known:
        raise UnverifiableError(f"{spec.name} rests on history {generation}; the log now holds {known}.")
    ends = {int(partition): offset for partition, offset in positions.items() if partition != "history"}
    _require_log_to_reach(spec, ends)
    until_us = (at - EPOCH) // timedelta(microseconds=1)
    keys = {key: pa.array([row[key]], pa.string()) for key in spec.join_keys}
    events = read_events(spec.source, spec.columns, join_keys=spec.join_keys, keys=keys, until_us=until_us)
    return events.filter(_applied(events, ends))


def _require_log_to_reach(spec: ViewSpec, ends: Mapping[int, int]) -> None:
    reached = log_positions(spec.source)
    for partition, offset in ends.items():
        if reached.get(partition, -1) < offset:
            raise NotYetInLogError(
                f"{spec.name} counts {spec.source.name}[{partition}] up to offset {offset}; the log holds it up to "
                f"{reached.get(partition, 'nothing')}. Is the archive running (`make status`)?"
            )


def _applied(events: pa.Table, ends: Mapping[int, int]) -> pa.Array:
    """History, and streamed rows at or before the position of their partition."""
    partitions, offsets = events["source_partition"].to_pylist(), events["source_offset"].to_pylist()
    pairs = zip(partitions, offsets, strict=True)
    return pa.array([partition is None or offset <= ends.get(partition, -1) for partition, offset in pairs], pa.bool_())


def _tolerance(window: WindowSpec, events: pa.Table) -> float:
    """By how much a float may differ where values cancel; 0 for everything exact."""
    if window.output_type != pa.float64() or window.function not in ("sum", "mean", "std"):
        return 0.0
    magnitudes = np.abs(np.asarray(events[window.column].drop_null().cast(pa.float64())))
    if not len(magnitudes):
        return 0.0
    return STD_TOLERANCE * float(magnitudes.max()) if window.function == "std" else SUM_TOLERANCE * float(magnitudes.sum())


def _equal(online: object, offline: object, tolerance: float) -> bool:
    if isinstance(online, float) and isinstance(offline, float):
        return math.isclose(online, offline, rel_tol=RELATIVE_TOLERANCE, abs_tol=tolerance)
    return online == offline and isinstance(online, bool) == isinstance(offline, bool)
