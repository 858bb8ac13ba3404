"""The in-process engine: reads each log once for all views over it and evaluates view by view."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pyarrow as pa

from plumbline.durations import window_start
from plumbline.entity_rows import EntityRows
from plumbline.event_log import LogNotFoundError, judged_events, read_rows
from plumbline.log_rows import Reading
from plumbline.point_in_time import ORDERED_FUNCTIONS
from plumbline.view_evaluation import Judged, RowRequest, ViewRequest, WindowedRequest, newest_of, windows_of
from plumbline.view_spec import LogSource, WindowSpec

log = logging.getLogger(__name__)

WORTH_TELLING_S = 3.0
"""Views that take longer are logged as they are done."""


def features_of(rows: EntityRows, requests: Sequence[ViewRequest], as_known: bool) -> pa.Table:
    """The entity rows with the requested features as further columns, rows as they came.

    Raises LogNotFoundError naming view, path and what to do; OverflowError for an integer sum that leaves int64.
    """
    table = rows.table
    logs: dict[LogSource, Judged] = {}
    began = time.monotonic()
    for number, request in enumerate(requests, 1):
        if isinstance(request, WindowedRequest):
            if request.source not in logs:
                logs[request.source] = _read_log(_over(request.source, requests), rows)
            added = windows_of(request, logs[request.source], rows.table, rows.at, as_known)
        else:
            added = newest_of(request, _read_table(request), rows.table, rows.at, as_known)
        for name, values in added.items():
            table = table.append_column(name, values)
        elapsed_s = time.monotonic() - began
        if elapsed_s > WORTH_TELLING_S:
            log.info("%d of %d views done for %d rows, %.1f s", number, len(requests), len(rows.at), elapsed_s)
    return table


def event_reading(requests: Sequence[WindowedRequest], span: tuple[int, int] | None) -> Reading:
    """What windows over one log may see of it at entity rows between two instants (microseconds; None: no row has one)."""
    specs = [request.spec for request in requests]
    return Reading(
        join_keys=tuple(dict.fromkeys(name for spec in specs for name in spec.join_keys)),
        columns=tuple(dict.fromkeys(name for spec in specs for name in spec.columns)),
        with_ids=any(window.function in ORDERED_FUNCTIONS for spec in specs for window in spec.windows),
        since_us=None if span is None else min(_earliest_start(spec.windows, span[0]) for spec in specs),
        until_us=None if span is None else span[1],
    )


@contextmanager
def naming(request: ViewRequest) -> Iterator[None]:
    """A missing log is missed by a view: say which."""
    try:
        yield
    except LogNotFoundError as error:
        view = request.spec.name if isinstance(request, WindowedRequest) else request.view
        raise LogNotFoundError(f"View '{view}': {error}") from None


def _read_log(requests: Sequence[WindowedRequest], rows: EntityRows) -> Judged:
    with naming(requests[0]):
        return judged_events(requests[0].source, replace(event_reading(requests, rows.range_us()), coded_keys=True))


def _read_table(request: RowRequest) -> pa.Table:
    with naming(request):
        return read_rows(request.source, (), join_keys=(*request.join_keys, *request.features))


def _earliest_start(windows: Sequence[WindowSpec], at_us: int) -> int:
    return min(window_start(at_us, window.window_us, window.slide_us) for window in windows)


def _over(source: LogSource, requests: Sequence[ViewRequest]) -> list[WindowedRequest]:
    return [request for request in requests if isinstance(request, WindowedRequest) and request.source == source]
