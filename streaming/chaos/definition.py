"""What a windowed feature means, evaluated apart from the engine: one entity, one instant, the events before it.

Only the declarations (Feast's own Aggregation objects) are shared with what is tested.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from feast.stream_feature_view import StreamFeatureView

MICROSECOND, SECOND = timedelta(microseconds=1), timedelta(seconds=1)
RELATIVE, OF_MAGNITUDE = 1e-9, 3e-15
"""How far a std may be off, relative to itself or to the largest magnitude (design, section 2); everything else is exact."""


SORTED_BY = ["event_timestamp", "created_timestamp", "event_id"]


@dataclass(frozen=True)
class Feature:
    """One aggregation of a view; times in microseconds."""

    name: str
    column: str
    function: str
    window_us: int
    slide_us: int


def features_of(view: StreamFeatureView) -> list[Feature]:
    """The declared aggregations of a view."""
    return [_feature(a.name, a.column, a.function, a.time_window, a.slide_interval) for a in view.aggregations]


def _feature(name: str, column: str, function: str, over: timedelta, every: timedelta) -> Feature:
    slide = _default_slide(over) if every == over else every
    return Feature(name, column, function, over // MICROSECOND, slide // MICROSECOND)


def _default_slide(over: timedelta) -> timedelta:
    if over <= timedelta(hours=1):
        return MICROSECOND
    if over <= timedelta(days=2):
        return timedelta(minutes=5)
    return timedelta(hours=1) if over <= timedelta(days=30) else timedelta(days=1)


class Entities:
    """The accepted events of a log by the entities of one view, each entity's in the order that first and last go by.

    events  event_timestamp, created_timestamp (microseconds), event_id, source_partition, source_offset, the join keys and
            the columns of the features; integers that may be missing are of pandas' nullable Int64
    """

    def __init__(self, features: Sequence[Feature], join_keys: Sequence[str], events: pd.DataFrame) -> None:
        self.features = features
        self.join_keys = sorted(join_keys)
        columns = {*SORTED_BY, "source_partition", "source_offset", *self.join_keys, *(f.column for f in self.features)}
        known = events[sorted(columns)].dropna(subset=self.join_keys)
        known = known.sort_values(SORTED_BY, kind="stable")
        self._rows = {key: np.asarray(rows) for key, rows in known.groupby(self.join_keys, sort=False).indices.items()}
        self._at, self._partition, self._offset = (
            known[name].to_numpy(np.int64) for name in ("event_timestamp", "source_partition", "source_offset")
        )
        self._partitions = int(self._partition.max(initial=-1)) + 1
        self._columns = {name: _values(known[name]) for name in {feature.column for feature in self.features}}

    def entities(self) -> list[dict[str, str]]:
        """The join keys of every entity that has an event."""
        return [dict(zip(self.join_keys, _as_tuple(key), strict=True)) for key in self._rows]

    def values(self, entity: Mapping[str, str], at_us: int, positions: Mapping[int, int] | None = None) -> dict[str, Any]:
        """Every feature of an entity at an instant: of all its events, or of those up to the positions (inclusive)."""
        key = tuple(entity[name] for name in self.join_keys)
        rows = self._rows.get(key if len(key) > 1 else key[0], np.empty(0, np.int64))
        if positions is not None:
            ends = np.array([positions.get(partition, -1) for partition in range(self._partitions)], np.int64)
            rows = rows[self._offset[rows] <= ends[self._partition[rows]]]
        at = self._at[rows]
        return {feature.name: self._value(feature, rows, at, at_us) for feature in self.features}

    def _value(self, feature: Feature, rows: np.ndarray, at: np.ndarray, at_us: int) -> Any:
        start = (at_us - feature.window_us) // feature.slide_us * feature.slide_us
        values, is_known = self._columns[feature.column]
        inside = rows[np.searchsorted(at, start) : np.searchsorted(at, at_us)]  # start <= at < at_us
        inside = inside[is_known[inside]]
        return result(feature.function, values[inside])


def result(function: str, values: np.ndarray) -> Any:
    """A function of the non-null values of a window, oldest first."""
    if function == "count":
        return len(values)
    if function == "count_distinct":
        return len(set(values.tolist()))
    if function == "sum":
        return sum(values.tolist())
    if function == "std":
        return float(np.std(values.astype(np.float64), ddof=1)) if len(values) > 1 else None
    if not len(values):
        return None
    if function == "mean":
        return float(sum(values.tolist())) / float(len(values))
    if function in ("first", "last"):
        return values.tolist()[0 if function == "first" else -1]
    return min(values.tolist()) if function == "min" else max(values.tolist())


def agree(function: str, got: Any, expected: Any, largest: float) -> bool:
    """Whether an online value is the expected one by the rules; `largest` is the largest magnitude of a std's values."""
    if got is None or expected is None or function != "std":
        return bool(got == expected)
    return abs(got - expected) <= max(RELATIVE * abs(expected), OF_MAGNITUDE * largest)


def differing(features: Sequence[Feature], got: Mapping[str, Any], expected: Mapping[str, Any], prefix: str) -> list[str]:
    """The features whose online value is not the expected one, with both values."""
    return [
        f"{prefix}{feature.name} is {got[prefix + feature.name]!r}, by definition {expected[feature.name]!r}"
        for feature in features
        if not agree(feature.function, got[prefix + feature.name], expected[feature.name], LARGEST_CENTS)
    ]


LARGEST_CENTS = 1e7
"""The largest amount that the traffic draws."""


def _values(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """A column's values (texts as codes of their own would compare alike, so they stay texts) and which are not null."""
    is_known = column.notna().to_numpy()
    if pd.api.types.is_integer_dtype(column.dtype):
        return column.fillna(0).to_numpy(np.int64), is_known
    return column.to_numpy(object), is_known


def _as_tuple(key: Any) -> tuple[str, ...]:
    return key if isinstance(key, tuple) else (key,)
