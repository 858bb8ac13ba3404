"""The rows of slowly changing views that logged answers rest on: the newest at the instant that the store knew of."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureView

from plumbline.event_log import read_rows
from plumbline.spec import join_keys_of
from plumbline.view_spec import LogSource

TIMES = ("event_timestamp", "created_timestamp")


def values(view: FeatureView, source: LogSource, answers: Sequence[Mapping[str, Any]]) -> list[dict[str, object]]:
    """Feature -> value for each answer: of the newest row that its position reaches, null past the view's ttl.

    An answer's position in such a view is the two times of the row it used; without one it knew of no row.
    """
    rows = _rows_by_entity(view, source, answers)
    names = [field.name for field in view.features]
    nothing: dict[str, object] = dict.fromkeys(names)
    found = []
    for answer in answers:
        row = _row_used(rows[_entity(view, answer["entity_row"])], answer["positions"].get(view.name, {}))
        expired = row is None or bool(view.ttl and row["event_timestamp"] < datetime.fromisoformat(answer["as_of"]) - view.ttl)
        found.append(nothing if row is None or expired else {name: row[name] for name in names})
    return found


def _rows_by_entity(
    view: FeatureView, source: LogSource, answers: Sequence[Mapping[str, Any]]
) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """The rows of the answers' entities, oldest first."""
    table = read_rows(source, [field.name for field in view.features], join_keys=join_keys_of(view))
    for key in join_keys_of(view):
        wanted = pa.array([answer["entity_row"][key] for answer in answers], table[key].type)
        table = table.filter(pc.is_in(table[key], value_set=wanted))
    rows = defaultdict(list)
    for row in table.sort_by([(name, "ascending") for name in TIMES]).to_pylist():
        rows[_entity(view, row)].append(row)
    return rows


def _entity(view: FeatureView, row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[key] for key in join_keys_of(view))


def _row_used(rows: Sequence[dict[str, Any]], position: Mapping[str, str]) -> dict[str, Any] | None:
    """The newest row up to a position."""
    if not position:
        return None
    used = tuple(datetime.fromisoformat(position[name]) for name in TIMES)
    reached = [row for row in rows if tuple(row[name] for name in TIMES) <= used]
    return reached[-1] if reached else None
