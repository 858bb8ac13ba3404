"""Events and entity rows in one timeline: sorted once by (entity, time), every window is a run of neighbours.

entity 7   events   e0    e1  e2        e3      e4
           rows            r0        r1             r2
           ends            1         3              5       the first event that is not before the row
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plumbline.compiled import kernel
from plumbline.entity_keys import NOBODY, entity_codes
from plumbline.log_times import int64_values, valid_mask


@dataclass(frozen=True)
class Timeline:
    """n events of the entities that m rows ask about, and those rows, both sorted by (entity, time).

    event_order, row_order    (n,), (m,) positions in the tables they came from; rows of nobody are in neither
    event_us, row_us          (n,), (m,) microseconds since the epoch
    event_starts, row_starts  (entities + 1,) where each entity begins
    """

    event_order: np.ndarray
    event_us: np.ndarray
    event_starts: np.ndarray
    row_order: np.ndarray
    row_us: np.ndarray
    row_starts: np.ndarray

    @cached_property
    def ends(self) -> np.ndarray:
        """(m,) position of the first event of the row's entity that is not before the row."""
        return _ends(self.event_us, self.event_starts, self.row_us, self.row_starts)

    def parts(self, size: int) -> list["Timeline"]:
        """The same by runs of entities, one or more, each of less than twice `size` events and rows or a large entity."""
        seen = self.event_starts + self.row_starts
        cuts = np.searchsorted(seen, np.arange(size, seen[-1], size), side="right") - 1
        edges = np.unique(np.concatenate(([0], cuts, [len(seen) - 1])))
        return [self._part(first, stop) for first, stop in pairwise(edges.tolist())] or [self]

    def _part(self, first: int, stop: int) -> "Timeline":
        event, last_event = self.event_starts[first], self.event_starts[stop]
        row, last_row = self.row_starts[first], self.row_starts[stop]
        return Timeline(
            self.event_order[event:last_event], self.event_us[event:last_event], self.event_starts[first : stop + 1] - event,
            self.row_order[row:last_row], self.row_us[row:last_row], self.row_starts[first : stop + 1] - row,
        )  # fmt: skip


def align(
    events: pa.Table,
    rows: pa.Table,
    join_keys: Sequence[str],
    at: pa.Array | pa.ChunkedArray,
    counts: Callable[[], np.ndarray] | None = None,
    shift_us: int = 0,
) -> Timeline:
    """Put events and entity rows into one timeline; equal times keep the order they came in.

    events     n events with the join keys and event_timestamp (timestamp[us, UTC])
    rows, at   m rows with the join keys, and their instants; rows with a null key or instant are of nobody
    counts     gives (n,) bool which events count, asked when it is needed; None: all
    shift_us   added to the instants: 1 makes an event at the instant itself one before it

    Raises EntityKeyError for join keys whose types do not compare.
    """
    event_codes, row_codes, entities = entity_codes(
        [events[name] for name in join_keys], [rows[name] for name in join_keys], join_keys
    )
    if not join_keys:
        event_codes, row_codes = np.zeros(events.num_rows, np.int64), np.zeros(len(at), np.int64)
    if at.null_count:
        row_codes = np.where(valid_mask(at), row_codes, NOBODY)
    with ThreadPoolExecutor(max_workers=1) as beside:
        sorted_rows = beside.submit(_sorted, row_codes, [us + shift_us if shift_us else us for us in _runs(at)], entities)
        if counts is not None and not (counted := counts()).all():
            event_codes = np.where(counted, event_codes, NOBODY)
        event_order, event_us, event_starts = _sorted(event_codes, _runs(events["event_timestamp"]), entities)
        row_order, row_us, row_starts = sorted_rows.result()
    return Timeline(event_order, event_us, event_starts, row_order, row_us, row_starts)


def order_ties(line: Timeline, events: pa.Table, by_id: bool) -> None:
    """Order the events of one entity and instant by creation and, if asked, by id (UTF-8 bytes, null first)."""
    tied = _tied(line.event_us, line.event_starts)
    if not tied.any():
        return
    places = np.flatnonzero(tied)
    rows = line.event_order[places]
    changes = np.diff(line.event_us[places]) != 0
    changes |= np.diff(np.searchsorted(line.event_starts, places, side="right")) != 0
    created = events["created_timestamp"].take(pa.array(rows))
    columns = {"group": pa.array(np.concatenate(([0], np.cumsum(changes)))), "created": created}
    if by_id:
        columns["id"] = pc.fill_null(events["event_id"].take(pa.array(rows)).cast(pa.string()), "")
    order = pc.sort_indices(pa.table(columns), sort_keys=[(name, "ascending") for name in columns])
    line.event_order[places] = rows[order.to_numpy()]


@kernel
def window_begins(
    event_us: np.ndarray,
    event_starts: np.ndarray,
    row_us: np.ndarray,
    row_starts: np.ndarray,
    window_us: int,
    slide_us: int,
) -> np.ndarray:
    """(m,) position of the first event at or after floor(row - window_us, slide_us), of each row's entity."""
    begins = np.empty(len(row_us), np.int64)
    for entity in range(len(row_starts) - 1):
        begin, stop = event_starts[entity], event_starts[entity + 1]
        start = np.int64(0)
        until = np.int64(0)
        for row in range(row_starts[entity], row_starts[entity + 1]):
            tail = row_us[row] - window_us
            if row == row_starts[entity] or tail >= until:
                start = tail if slide_us == 1 else tail // slide_us * slide_us
                until = start + slide_us
            while begin < stop and event_us[begin] < start:
                begin += 1
            begins[row] = begin
    return begins


@kernel
def _ends(event_us: np.ndarray, event_starts: np.ndarray, row_us: np.ndarray, row_starts: np.ndarray) -> np.ndarray:
    ends = np.empty(len(row_us), np.int64)
    for entity in range(len(row_starts) - 1):
        end, stop = event_starts[entity], event_starts[entity + 1]
        for row in range(row_starts[entity], row_starts[entity + 1]):
            while end < stop and event_us[end] < row_us[row]:
                end += 1
            ends[row] = end
    return ends


def _runs(times: pa.Array | pa.ChunkedArray) -> list[np.ndarray]:
    """Instants as they lie, in microseconds: large columns are not copied together."""
    return [int64_values(chunk) for chunk in (times.chunks if isinstance(times, pa.ChunkedArray) else [times])]


def _sorted(codes: np.ndarray, times: Sequence[np.ndarray], entities: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A counting sort by code, then a stable sort by time of those entities that are not sorted already.

    Returns positions and times in the new order, and where each entity begins.
    """
    starts = _starts(codes, entities)
    order, ordered = np.empty(starts[-1], np.int64), np.empty(starts[-1], np.int64)
    cursor, rising = starts[:-1].copy(), np.ones(entities, np.bool_)
    first = 0
    for run in times:
        _place(codes[first : first + len(run)], run, first, starts, cursor, order, ordered, rising)
        first += len(run)
    _sort_by_time(starts, rising, order, ordered)
    return order, ordered, starts


@kernel
def _starts(codes: np.ndarray, entities: int) -> np.ndarray:
    starts = np.zeros(entities + 1, np.int64)
    for code in codes:
        if code >= 0:
            starts[code + 1] += 1
    for entity in range(entities):
        starts[entity + 1] += starts[entity]
    return starts


@kernel
def _place(
    codes: np.ndarray,
    times: np.ndarray,
    first: int,
    starts: np.ndarray,
    cursor: np.ndarray,
    order: np.ndarray,
    ordered: np.ndarray,
    rising: np.ndarray,
) -> None:
    """Put the positions and times from `first` on where each entity's next ones go, and note which entities are not sorted."""
    for i in range(len(codes)):
        code = codes[i]
        if code >= 0:
            place = cursor[code]
            order[place] = first + i
            ordered[place] = times[i]
            if place > starts[code] and ordered[place - 1] > times[i]:
                rising[code] = False
            cursor[code] = place + 1


@kernel
def _sort_by_time(starts: np.ndarray, rising: np.ndarray, order: np.ndarray, ordered: np.ndarray) -> None:
    for entity in range(len(rising)):
        if not rising[entity]:
            begin, end = starts[entity], starts[entity + 1]
            by_time = np.argsort(ordered[begin:end], kind="mergesort")
            order[begin:end] = order[begin:end][by_time]
            ordered[begin:end] = ordered[begin:end][by_time]


@kernel
def _tied(event_us: np.ndarray, event_starts: np.ndarray) -> np.ndarray:
    """Which events share entity and instant with another."""
    tied = np.zeros(len(event_us), np.bool_)
    for entity in range(len(event_starts) - 1):
        for i in range(event_starts[entity] + 1, event_starts[entity + 1]):
            if event_us[i] == event_us[i - 1]:
                tied[i] = tied[i - 1] = True
    return tied
