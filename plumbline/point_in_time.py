"""Point-in-time evaluation: every window of a view at every entity row, sorted once and evaluated part by part."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from plumbline.feature_column import FeatureColumn
from plumbline.late_kernels import Late, find_late, no_late
from plumbline.log_times import int64_values
from plumbline.timeline import Timeline, align, order_ties, window_begins
from plumbline.window_functions import Window, result_of
from plumbline.window_inputs import Column, LogColumn

if TYPE_CHECKING:
    from plumbline.view_spec import ViewSpec, WindowSpec

ORDERED_FUNCTIONS = ("first", "last")
"""Functions that look at the order of events within one instant, hence at event_id."""
PART = 1 << 18
"""So many events and entity rows are evaluated at a time: what is computed of them stays in a processor's cache."""


def evaluate(
    events: pa.Table,
    spec: "ViewSpec",
    rows: pa.Table,
    at: pa.Array | pa.ChunkedArray,
    as_known: bool,
    counts: Callable[[], np.ndarray] | None = None,
    threads: int | None = None,
) -> pa.Table:
    """Every window of a view at every entity row: one column a WindowSpec, n rows in the order of `rows`.

    events    accepted events as event_log.read_events gives them (event_id is looked at for first and last only)
    rows, at  n entity rows with the view's join keys, and their instants (timestamp[us, UTC]; null sees nothing)
    as_known  leave out what was created after the row's instant
    counts    gives (m,) bool which events count, where some were not accepted; None: all
    threads   how many parts are evaluated at a time; None: one a processor

    A row with a null key, of an unknown entity or with nothing in a window gets 0 for count, count_distinct and sum and
    null for the others. Raises OverflowError, naming view and feature, when an integer sum leaves int64, and
    EntityKeyError for join keys whose types do not compare.
    """
    line = align(events, rows, spec.join_keys, at, counts)
    if any(window.function in ORDERED_FUNCTIONS for window in spec.windows):
        order_ties(line, events, by_id=True)
    created_us = int64_values(events["created_timestamp"]) if as_known else None
    logs = {window.column: LogColumn(window, events[window.column]) for window in spec.windows}
    features = {window.name: FeatureColumn(spec, window, logs[window.column], rows, line) for window in spec.windows}

    def fill(task: "_Task") -> None:
        part, windows = task
        slid = {tail: part.slid(*tail) for tail in dict.fromkeys(map(_tail, windows))}
        for window in windows:
            column = part.columns[window.column]
            features[window.name].put(part.line, result_of(window.function, column, slid[_tail(window)]))

    with ThreadPoolExecutor(max_workers=threads or os.cpu_count()) as pool:
        parts = (_Part(part, logs, created_us) for part in line.parts(PART))
        for _ in pool.map(fill, _tasks(parts, spec.windows)):
            pass
    return pa.table([feature.column() for feature in features.values()], names=list(features))


def _tasks(parts: Iterator["_Part"], windows: Sequence["WindowSpec"]) -> Iterator["_Task"]:
    """The work of a call. An entity that is large for itself is shared out by windows."""
    by_tail = [tuple(alike) for _, alike in groupby(sorted(windows, key=_tail), _tail)]
    for part in parts:
        for share in by_tail if part.is_large else [windows]:
            yield part, share


def _tail(window: "WindowSpec") -> tuple[int, int]:
    return window.window_us, window.slide_us


class _Part:
    """Some entities of a timeline; what windows need of the log is gathered when it is asked for, once for all of them."""

    def __init__(self, line: Timeline, logs: dict[str, LogColumn], created_us: np.ndarray | None) -> None:
        self.line, self._logs, self._created_us = line, logs, created_us

    @property
    def is_large(self) -> bool:
        return len(self.line.event_us) + len(self.line.row_us) > 2 * PART

    @cached_property
    def columns(self) -> dict[str, Column]:
        """The columns of the view's windows."""
        late, _ = self._late
        seen = ~late if late.any() else None
        return {name: Column(log, self.line.event_order, seen) for name, log in self._logs.items()}

    @cached_property
    def _late(self) -> tuple[np.ndarray, Late]:
        if self._created_us is None:
            return no_late(self.line)
        return find_late(self.line, self._created_us[self.line.event_order])

    def slid(self, window_us: int, slide_us: int) -> Window:
        """The runs of events that a window slides over."""
        line = self.line
        begins = window_begins(line.event_us, line.event_starts, line.row_us, line.row_starts, window_us, slide_us)
        return Window(begins, line.ends, ~self._late[0], self._late[1])


_Task = tuple[_Part, Sequence["WindowSpec"]]
