"""What a call for history asks of one view, and its answer from the view's events: the same function for every engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from plumbline.point_in_time import evaluate
from plumbline.slowly_changing import latest

if TYPE_CHECKING:
    from plumbline.view_spec import LogSource, ViewSpec

Judged = tuple[pa.Table, Callable[[], np.ndarray] | None]
"""Rows of a log, and what says which of them count (None: all)."""


@dataclass(frozen=True)
class WindowedRequest:
    """Windows of one view.

    spec      the view with the requested windows only
    row_keys  columns of the entity rows that hold spec.join_keys, in the same order
    outputs   output column of each of spec.windows
    """

    spec: "ViewSpec"
    row_keys: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def source(self) -> "LogSource":
        """The log behind the view."""
        return self.spec.source


@dataclass(frozen=True)
class RowRequest:
    """Features of the newest row of one slowly changing view.

    join_keys, row_keys  the table's join keys and the entity rows' columns for them
    features, outputs    columns of the table and their output columns
    types                declared Arrow types, for a table that has no values yet
    ttl_us               time to live, 0 for ever
    """

    view: str
    source: "LogSource"
    join_keys: tuple[str, ...]
    row_keys: tuple[str, ...]
    features: tuple[str, ...]
    outputs: tuple[str, ...]
    types: tuple[pa.DataType, ...]
    ttl_us: int


ViewRequest = WindowedRequest | RowRequest


def windows_of(
    request: WindowedRequest,
    events: Judged,
    rows: pa.Table,
    at: pa.ChunkedArray,
    as_known: bool,
    threads: int | None = None,
) -> dict[str, pa.ChunkedArray]:
    """Output columns of a windowed view at n entity rows."""
    keys = _keyed(rows, request.row_keys, request.spec.join_keys)
    values = evaluate(events[0], request.spec, keys, at, as_known, events[1], threads)
    return dict(zip(request.outputs, values.columns, strict=True))


def newest_of(
    request: RowRequest, table: pa.Table, rows: pa.Table, at: pa.ChunkedArray, as_known: bool
) -> dict[str, pa.ChunkedArray]:
    """Output columns of a slowly changing view at n entity rows."""
    keys = _keyed(rows, request.row_keys, request.join_keys)
    holds = latest(table, request.join_keys, keys, at, request.ttl_us, as_known)
    columns = {}
    for feature, output, declared in zip(request.features, request.outputs, request.types, strict=True):
        values = table[feature].cast(declared) if pa.types.is_null(table[feature].type) else table[feature]
        columns[output] = values.take(holds)
    return columns


def _keyed(rows: pa.Table, row_keys: Sequence[str], join_keys: Sequence[str]) -> pa.Table:
    """The entity rows' keys under the names that the log has for them."""
    return pa.table([rows[name] for name in row_keys], names=list(join_keys))
