"""Point-in-time evaluation: every window of a view at every entity row, sorted once and put back in order."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from plumbline.compiled import kernel
from plumbline.late_kernels import find_late, no_late
from plumbline.log_times import int64_values
from plumbline.timeline import Timeline, align, order_ties, window_begins
from plumbline.window_functions import Result, Window, result_of
from plumbline.window_inputs import Column

if TYPE_CHECKING:
    from plumbline.view_spec import ViewSpec, WindowSpec

ORDERED_FUNCTIONS = ("first", "last")
"""Functions that look at the order of events within one instant, hence at event_id."""


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
    threads   how many windows are evaluated at a time; None: one a processor

    A row with a null key, of an unknown entity or with nothing in a window gets 0 for count, count_distinct and sum and
    null for the others. Raises OverflowError, naming view and feature, when an integer sum leaves int64, and
    EntityKeyError for join keys whose types do not compare.
    """
    line = align(events, rows, spec.join_keys, at, counts)
    if any(window.function in ORDERED_FUNCTIONS for window in spec.windows):
        order_ties(line, events, by_id=True)
    created_us = int64_values(events["created_timestamp"])[line.event_order] if as_known else line.event_us
    late_mask, late = find_late(line, created_us) if as_known else no_late(line)
    timely = ~late_mask
    seen = timely if late_mask.any() else None
    of_column = {window.column: window for window in spec.windows}
    columns = {name: Column(window, events[name], line.event_order, seen) for name, window in of_column.items()}
    answers = _Answers(spec, line, rows)

    def slide(window_us: int, slide_us: int) -> Window:
        begins = window_begins(line.event_us, line.event_starts, line.row_us, line.row_starts, window_us, slide_us)
        return Window(begins, line.ends, timely, late)

    ordered = sorted(spec.windows, key=_tail)
    slid = {tail: _Shared(partial(slide, *tail)) for tail in map(_tail, ordered)}

    def answer(window: "WindowSpec") -> pa.Array:
        inputs = columns[window.column]
        return answers.column(window, inputs, result_of(window.function, inputs, slid[_tail(window)]()))

    features: dict[str, pa.Array] = {}
    with ThreadPoolExecutor(max_workers=threads or os.cpu_count()) as pool:
        for window, values in zip(ordered, pool.map(answer, ordered), strict=True):
            features[window.name] = values
            if all(w.name in features for w in ordered if _tail(w) == _tail(window)):
                slid[_tail(window)].forget()
    return pa.table([features[window.name] for window in spec.windows], names=[window.name for window in spec.windows])


def _tail(window: "WindowSpec") -> tuple[int, int]:
    return window.window_us, window.slide_us


class _Shared:
    """A window of several features, found by the first thread that needs it, and let go with the last feature."""

    def __init__(self, find: Callable[[], Window]) -> None:
        self._find, self._finding = find, Lock()
        self._found: Window | None = None

    def __call__(self) -> Window:
        with self._finding:
            self._found = self._found or self._find()
            return self._found

    def forget(self) -> None:
        self._found = None


class _Answers:
    """Results of a timeline as columns in the order of the entity rows, in the declared types; rows of nobody see nothing."""

    def __init__(self, spec: "ViewSpec", line: Timeline, rows: pa.Table) -> None:
        self._spec, self._line, self._rows = spec, line, rows
        self._places = np.full(rows.num_rows, -1)
        self._places[line.row_order] = np.arange(len(line.row_order))

    def column(self, window: "WindowSpec", inputs: Column, result: Result) -> pa.Array:
        """Raises OverflowError, naming view and feature, for a sum or a value that does not fit."""
        where = f"View '{self._spec.name}', feature '{window.name}'"
        if result.overflow is not None:
            row, value = result.overflow
            entity = {name: self._rows[name][int(self._line.row_order[row])].as_py() for name in self._spec.join_keys}
            raise OverflowError(_overflow(where, entity, int(self._line.row_us[row]), value))
        if result.places:
            return _declared(inputs.take(_taken(result.values, self._places, -1)), window, where)
        values = _taken(result.values, self._places, result.nothing or 0)
        missing = None if result.valid is None else _taken(~result.valid, self._places, result.nothing is None)
        return _declared(pa.array(values, mask=missing), window, where)


@kernel
def _taken(values: np.ndarray, places: np.ndarray, otherwise: float) -> np.ndarray:
    """values[places], and `otherwise` for a negative place."""
    taken = np.empty(len(places), values.dtype)
    for i in range(len(places)):
        if places[i] >= 0:  # a conditional expression would make floats of uint64
            taken[i] = values[places[i]]
        else:
            taken[i] = otherwise
    return taken


def _declared(values: pa.Array, window: "WindowSpec", where: str) -> pa.Array:
    if values.type == window.output_type:
        return values
    exact = pa.types.is_integer(values.type) and pa.types.is_integer(window.output_type)
    try:
        return values.cast(window.output_type, safe=exact)
    except pa.ArrowInvalid as error:
        raise OverflowError(f"{where}: a result does not fit the declared {window.output_type}: {error}") from None


def _overflow(where: str, entity: dict[str, object], row_us: int, value: int | None) -> str:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=row_us)
    return (
        f"{where}: the sum of {entity} at {at.isoformat()} is {value or 'an integer'}, which leaves int64; "
        "sum a smaller unit of the column, a shorter window, or a float column."
    )
