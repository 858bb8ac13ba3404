"""A feature of all entity rows as one column, put together from the results of the parts of a timeline."""

from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from plumbline.compiled import kernel
from plumbline.timeline import Timeline
from plumbline.window_functions import Result
from plumbline.window_inputs import LogColumn

if TYPE_CHECKING:
    from plumbline.view_spec import ViewSpec, WindowSpec


class FeatureColumn:
    """One feature of all entity rows in their order, put together part by part; rows of nobody see nothing."""

    def __init__(self, spec: "ViewSpec", window: "WindowSpec", log: LogColumn, rows: pa.Table, line: Timeline) -> None:
        self._spec, self._window, self._log, self._rows, self._line = spec, window, log, rows, line
        self._making = Lock()
        self._made: _Made | None = None

    def put(self, part: Timeline, result: Result) -> None:
        """Results of a part of the timeline. Raises OverflowError, naming view and feature, for a sum that left int64."""
        if result.overflow is not None:
            row, value = result.overflow
            entity = {name: self._rows[name][int(part.row_order[row])].as_py() for name in self._spec.join_keys}
            raise OverflowError(_overflow(self._where, entity, int(part.row_us[row]), value))
        with self._making:
            made = self._made = self._made or self._make(result)
        _scatter(_log_rows(part, result.values) if result.places else result.values, part.row_order, made.values)
        if result.valid is not None:
            _scatter(~result.valid, part.row_order, made.missing)

    def column(self) -> pa.Array:
        """In the declared type, after one part at least. Raises OverflowError for a value that it does not hold."""
        assert self._made is not None
        values, missing, of_log = self._made
        return _declared(self._log.take(values) if of_log else pa.array(values, mask=missing), self._window, self._where)

    def _make(self, result: Result) -> "_Made":
        """Nobody's values. Where every row is somebody's they are all overwritten."""
        n = self._rows.num_rows
        nothing = -1 if result.places else result.nothing or 0
        everybody = len(self._line.row_order) == n
        values = np.empty(n, result.values.dtype) if everybody else np.full(n, nothing, result.values.dtype)
        return _Made(values, None if result.valid is None else np.full(n, result.nothing is None), result.places)

    @property
    def _where(self) -> str:
        return f"View '{self._spec.name}', feature '{self._window.name}'"


class _Made(NamedTuple):
    """(n,) values and where they are null (None: nowhere); `of_log`: not values but the rows of the log that have them."""

    values: np.ndarray
    missing: np.ndarray | None
    of_log: bool


def _log_rows(part: Timeline, places: np.ndarray) -> np.ndarray:
    """Rows of the log for places of a part, -1 for none."""
    return np.where(places < 0, -1, part.event_order[places]) if len(part.event_order) else places


@kernel
def _scatter(values: np.ndarray, order: np.ndarray, into: np.ndarray) -> None:
    for i in range(len(values)):
        into[order[i]] = values[i]


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
