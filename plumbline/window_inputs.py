"""A column of the log as the kernels take it: its values in the order of a timeline, nulls (and NaN) marked."""

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plumbline.log_times import valid_mask
from plumbline.window_kernels import prefix_sums, wide_prefix_sums

if TYPE_CHECKING:
    from plumbline.view_spec import WindowSpec


class LogColumn:
    """One column of a log as it was read: its values in the log's order, in the type that the view was declared over."""

    def __init__(self, window: "WindowSpec", values: pa.ChunkedArray):
        self.name = window.column
        self.kind = window.kind
        self._array = _declared(values, window).combine_chunks()

    @cached_property
    def valid(self) -> np.ndarray | None:
        """Where a value is not null (NaN is null); None where every value is there."""
        present = valid_mask(self._array)
        if self.kind == "float":
            present = present & ~np.isnan(self.numbers)
        return None if present.all() else present

    @cached_property
    def numbers(self) -> np.ndarray:
        """int64, uint64 or float64 values; without meaning where not valid."""
        if self.kind == "float":
            return _numbers(self._array, pa.float64())
        return _numbers(self._array, pa.uint64() if self._array.type == pa.uint64() else pa.int64())

    @cached_property
    def furthest(self) -> int:
        """No value is further than this from zero. Of unsigned integers, whose sums wrap otherwise, more than any sum holds."""
        if not len(self.numbers) or self.numbers.dtype == np.uint64:
            return 2**64
        return max(abs(int(self.numbers.min())), abs(int(self.numbers.max())))

    def take(self, rows: np.ndarray) -> pa.Array:
        """The log's own values at rows; null for a negative one."""
        if not len(self._array):
            return pa.nulls(len(rows), self._array.type)
        missing = rows < 0
        return self._array.take(pa.array(np.where(missing, 0, rows), mask=missing))


class Column:
    """One column of n events in the timeline's order.

    log     the column as the log has it
    order   (n,) rows of it, in the timeline's order
    timely  (n,) False for the events that a plain pass must leave out because they are late; None: no event is late
    """

    def __init__(self, log: LogColumn, order: np.ndarray, timely: np.ndarray | None):
        self.name = log.name
        self.kind = log.kind
        self._log = log
        self._order = order
        self._timely = timely

    @cached_property
    def valid(self) -> np.ndarray:
        """(n,) False where the value is null."""
        return np.ones(len(self._order), np.bool_) if self._log.valid is None else self._log.valid[self._order]

    @cached_property
    def seen(self) -> np.ndarray:
        """(n,) True where a plain pass sees a value."""
        return self.valid if self._timely is None else self.valid & self._timely

    @cached_property
    def numbers(self) -> np.ndarray:
        """(n,) int64, uint64 or float64 values; without meaning where not valid."""
        return self._log.numbers[self._order]

    @cached_property
    def falling(self) -> np.ndarray:
        """(n,) the numbers in reverse order, so that the largest is the smallest: complements cannot overflow."""
        return -self.numbers if self.kind == "float" else ~self.numbers

    @cached_property
    def floats(self) -> np.ndarray:
        """(n,) values as float64."""
        return self.numbers.astype(np.float64, copy=False)

    @cached_property
    def words(self) -> tuple[np.ndarray, np.ndarray, str]:
        """(n,) values as int64 and as float64, one of them without meaning, and the kind of aggregate that reads the other.

        Unsigned integers, which may be larger than an int64, are taken as floats. Of columns that are no numbers nothing is
        looked at but whether there is a value.
        """
        if self.kind == "other":
            nothing = np.zeros(len(self.valid), np.int64)
            return nothing, nothing.view(np.float64), "integer"
        if self.numbers.dtype == np.int64:
            return self.numbers, self.numbers.view(np.float64), "integer"
        return self.floats.view(np.int64), self.floats, "float"

    @cached_property
    def total_fits(self) -> bool:
        """Whether no sum of any of the values can leave int64."""
        return self._log.furthest * len(self._order) < 2**63

    @cached_property
    def seen_before(self) -> np.ndarray:
        """(n + 1,) how many values a plain pass sees before each place."""
        return prefix_sums(self.seen, self.seen)

    @cached_property
    def total_before(self) -> np.ndarray:
        """(n + 1,) int64 sums of what a plain pass sees before each place; of use where total_fits."""
        return prefix_sums(self.numbers, self.seen)

    @cached_property
    def wide_total_before(self) -> tuple[np.ndarray, np.ndarray]:
        """(n + 1,) the same as high and low words of 128 bits."""
        return wide_prefix_sums(self.numbers, self.seen)

    @cached_property
    def codes(self) -> tuple[np.ndarray, int]:
        """(n,) a number for each different value, -1 for a null, and how many there are."""
        one_zero = self.kind == "float"  # and NaN is null
        values = pa.array(self.numbers + 0.0, mask=~self.valid) if one_zero else self._log.take(self._order)
        encoded = values.dictionary_encode()
        codes = np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False))
        return codes, len(encoded.dictionary)


def _declared(values: pa.ChunkedArray, window: "WindowSpec") -> pa.ChunkedArray:
    """The column in the type that the view was declared over."""
    if values.type == window.input_type:
        return values
    try:
        return values.cast(window.input_type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(
            f"Column '{window.column}' was declared as {window.input_type} but the log holds {values.type}: {error}"
        ) from None


def _numbers(array: pa.Array, data_type: pa.DataType) -> np.ndarray:
    numbers = array.cast(data_type)
    filled = numbers if numbers.null_count == 0 else pc.fill_null(numbers, pa.scalar(0, data_type))
    return np.asarray(filled.to_numpy(zero_copy_only=False))
