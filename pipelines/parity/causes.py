"""Why a served value is not what the log says: the first explanation that gives all served values of its view."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.applied_events import ANSWER, EPOCH, Asked, evaluated
from pipelines.recompute import Checked, Compared, Views, asked_of, is_equal, tolerance
from plumbline import FeatureStore
from plumbline.event_log import judged_events
from plumbline.log_rows import Reading
from plumbline.log_times import int64_values, valid_mask
from plumbline.view_spec import ViewSpec

DECAY = "decay"
TOO_LATE = "too late"
COUNTED_TWICE = "counted twice"
MISSING_IN_LOG = "event missing in the log"
MISSING_IN_STATE = "event missing in the state"
DEFINITION_CHANGED = "definition changed"
UNEXPLAINED = "unexplained"
CAUSES = (DEFINITION_CHANGED, DECAY, TOO_LATE, COUNTED_TWICE, MISSING_IN_LOG, MISSING_IN_STATE, UNEXPLAINED)

MOST_SINGLES = 200
"""Only the newest events of an entity are suspected one by one: each is an evaluation of its own."""
ROWS_OF_SUSPICIONS = 1_000_000

Unlogged = Callable[[ViewSpec, Asked, pa.Table], pa.Table]
"""Records of a view's topic that an answer counts and the log (its rows are given) does not hold, as rows of the log."""


@dataclass(frozen=True)
class Cause:
    """One of CAUSES, and which event or instant it is about."""

    name: str
    detail: str = ""


@dataclass(frozen=True)
class _Suspicion:
    """Had these events been counted at this instant, the served values would be right."""

    cause: Cause
    events: pa.Table
    at: datetime


def causes(store: FeatureStore, checked: Checked, unlogged: Unlogged) -> dict[str, Cause]:
    """Full name -> cause for every differing feature of an answer.

    A difference of an on-demand view has the cause of the view that it is computed from.
    """
    if _definition_changed(store, checked.answer):
        detail = f"answered by definitions {checked.answer['definition_hash']} of {checked.answer['feature_service']}"
        return {each.feature: Cause(DEFINITION_CHANGED, detail) for each in checked.differing}
    views = Views(store)
    of_view = {
        name: _cause(spec, checked, unlogged)
        for name in sorted(views.read_by(each.feature for each in checked.differing))
        if isinstance(spec := views.named(name), ViewSpec) and _served(checked, name)
    }
    known = {name: cause for name, cause in of_view.items() if cause is not None}
    inherited = next(iter(known.values()), Cause(UNEXPLAINED))
    return {each.feature: known.get(each.feature.partition("__")[0], inherited) for each in checked.differing}


def _definition_changed(store: FeatureStore, answer: Mapping[str, Any]) -> bool:
    logged = answer.get("definition_hash")
    return logged is not None and logged != store.definition_hash(answer["feature_service"])


def _served(checked: Checked, view: str) -> list[Compared]:
    return [each for each in checked.compared if each.feature.partition("__")[0] == view]


def _cause(spec: ViewSpec, checked: Checked, unlogged: Unlogged) -> Cause | None:
    """The cause of a view's differences; None where it has none."""
    served = _served(checked, spec.name)
    if all(each.equal for each in served):
        return None
    suspicions = list(_suspicions(spec, asked_of(spec, checked.answer), unlogged))
    numbered = [
        one.events.append_column(ANSWER, pa.array(np.full(one.events.num_rows, number)))
        for number, one in enumerate(suspicions)
    ]
    found = (
        evaluated(spec, pa.concat_tables(numbered, promote_options="default"), [one.at for one in suspicions])
        if suspicions
        else []
    )
    explaining = (one for one, values in zip(suspicions, found, strict=True) if _explains(spec, one, values, served))
    return next((one.cause for one in explaining), Cause(UNEXPLAINED))


def _explains(spec: ViewSpec, one: _Suspicion, values: Mapping[str, object], served: Sequence[Compared]) -> bool:
    return all(
        is_equal(each.online, values[name], tolerance(spec, name, one.events))
        for each in served
        for name in [each.feature.partition("__")[2]]
    )


def _suspicions(spec: ViewSpec, asked: Asked, unlogged: Unlogged) -> Iterator[_Suspicion]:
    """What may have gone wrong, the likelier first; nothing that would give the log's own values."""
    rows, counts = _rows(spec, asked)
    accepted, others = rows.filter(pa.array(counts)), rows.filter(pa.array(~counts))
    late = int64_values(others["created_timestamp"]) - int64_values(others["event_timestamp"]) > spec.source.allowed_lateness_us
    yield from _earlier_instants(spec, accepted, asked)
    for cause, more in (
        (TOO_LATE, others.filter(pa.array(late))),
        (COUNTED_TWICE, others.filter(pa.array(~late))),
        (MISSING_IN_LOG, unlogged(spec, asked, rows)),
        (COUNTED_TWICE, accepted),
    ):
        for added in _all_and_each(more, _most(accepted)):
            both = pa.concat_tables([accepted, added], promote_options="default")
            yield _Suspicion(Cause(cause, _named(added)), both, asked.at)
    for kept, left_out in _without(accepted):
        yield _Suspicion(Cause(MISSING_IN_STATE, _named(left_out)), kept, asked.at)


def _rows(spec: ViewSpec, asked: Asked) -> tuple[pa.Table, np.ndarray]:
    """The entity's rows of the log up to the answer's positions and instant, and which of them were accepted."""
    reading = Reading(spec.join_keys, spec.columns, until_us=asked.at_us)
    table, judgement = judged_events(spec.source, reading)
    counts, of_entity = judgement(), int64_values(table["event_timestamp"]) < asked.at_us
    for key, value in zip(spec.join_keys, asked.keys, strict=True):
        of_entity &= np.asarray(pc.fill_null(pc.equal(table[key].cast(pa.string()), pa.scalar(value, pa.string())), False))
    streamed, partitions = valid_mask(table["source_partition"]), int64_values(table["source_partition"])
    ends = np.full(table.num_rows, -1)
    for partition, end in asked.ends.items():
        ends[partitions == partition] = end
    chosen = of_entity & (~streamed | (int64_values(table["source_offset"]) <= ends))
    return table.filter(pa.array(chosen)), counts[chosen]


def _earlier_instants(spec: ViewSpec, accepted: pa.Table, asked: Asked) -> Iterator[_Suspicion]:
    """Instants since the newest event at which the windows held more than they do now: had nothing left them since."""
    times = int64_values(accepted["event_timestamp"])
    if not len(times):
        return
    newest_us = int(times.max()) + 1
    leaving = {int((t // w.slide_us + 1) * w.slide_us + w.window_us - 1) for w in spec.windows for t in np.unique(times)}
    between = sorted((us for us in leaving if newest_us < us < asked.at_us), reverse=True)
    for at_us in [newest_us, *between[: _most(accepted)]]:
        at = EPOCH + timedelta(microseconds=at_us)
        yield _Suspicion(Cause(DECAY, f"the values are those of {at.isoformat()}"), accepted, at)


def _all_and_each(events: pa.Table, most: int) -> Iterator[pa.Table]:
    if events.num_rows:
        yield events
    if events.num_rows > 1:
        newest = events.sort_by([("event_timestamp", "descending")])
        yield from (newest.slice(number, 1) for number in range(min(newest.num_rows, most)))


def _without(accepted: pa.Table) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The events with one left out, with the last ones of a slot left out, with a whole slot left out: (kept, left out)."""
    most = _most(accepted)
    slots = np.where(valid_mask(accepted["source_partition"]), int64_values(accepted["source_partition"]), -1)
    times = int64_values(accepted["event_timestamp"])
    for one in np.argsort(-times, kind="stable")[:most]:
        yield _split(accepted, np.arange(accepted.num_rows) == one)
    for slot in np.unique(slots).tolist():
        members = np.flatnonzero(slots == slot)
        order = members[np.argsort(-int64_values(accepted["source_offset"])[members], kind="stable")]
        for last in range(2, min(len(order), most) + 1):
            yield _split(accepted, np.isin(np.arange(accepted.num_rows), order[:last]))
        yield _split(accepted, slots == slot)


def _most(events: pa.Table) -> int:
    """How many events are suspected one by one, so that the evaluations together stay small."""
    return min(MOST_SINGLES, ROWS_OF_SUSPICIONS // (events.num_rows + 1) + 1)


def _split(events: pa.Table, left_out: np.ndarray) -> tuple[pa.Table, pa.Table]:
    return events.filter(pa.array(~left_out)), events.filter(pa.array(left_out))


def _named(events: pa.Table) -> str:
    """The events of a suspicion in a few words: ids and places."""
    columns = (events[name].to_pylist()[:3] for name in ("event_id", "source_partition", "source_offset"))
    said = [
        f"{event_id} ({'history' if partition is None else f'partition {partition}, offset {offset}'})"
        for event_id, partition, offset in zip(*columns, strict=True)
    ]
    return ", ".join(said) + (f" and {events.num_rows - 3} more" if events.num_rows > 3 else "")
