"""A windowed view as it was compiled: its log, its windows. Free of Feast, so that Spark's workers need not import it."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from plumbline.aggregates import ENTRIES

VALUELESS_FUNCTIONS = tuple(dict.fromkeys(entry.function for entry in ENTRIES if entry.any_type))
"""Functions that look at nothing but whether there is a value."""


class DeclarationError(ValueError):
    """A declaration that makes no sense; the message is one sentence with what is allowed."""


@dataclass(frozen=True)
class LogSource:
    """An event log: where its rows are and which columns carry time.

    path is absolute (or a URI); created_timestamp_column is None where the source declares none;
    field_mapping renames columns of the log (log's name -> name used by views).
    """

    name: str
    path: str
    timestamp_field: str
    created_timestamp_column: str | None
    allowed_lateness_us: int
    field_mapping: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class WindowSpec:
    """One windowed feature: `function` of `column` over [floor(t - window_us, slide_us), t).

    input_type and output_type are Arrow types; integers are exact, floats float64 inside.
    """

    name: str
    column: str
    function: str
    window_us: int
    slide_us: int
    input_type: pa.DataType
    output_type: pa.DataType

    @property
    def kind(self) -> str:
        """'integer', 'float' or 'other': how the column's values are handled."""
        return column_kind(self.input_type)

    @property
    def _stored_as(self) -> str:
        """What of the column's type the values depend on: a log that stores 32-bit integers means the same as one of 64."""
        if self.function in VALUELESS_FUNCTIONS:
            return "presence"
        return str(self.input_type) if self.kind == "other" else self.kind


@dataclass(frozen=True)
class ViewSpec:
    """A windowed view: its join keys in declared order, its log and its windows in declared order."""

    name: str
    join_keys: tuple[str, ...]
    source: LogSource
    windows: tuple[WindowSpec, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The raw columns that the windows read, each once, in order of first use."""
        return tuple(dict.fromkeys(window.column for window in self.windows))

    @property
    def longest_window_us(self) -> int:
        """Length of the longest window in microseconds: no older event is of use."""
        return max(window.window_us for window in self.windows)

    @cached_property
    def definition_hash(self) -> str:
        """16 hex digits that change when anything that the values depend on changes (the log's path does not)."""
        windows = [(w.name, w.column, w.function, w.window_us, w.slide_us, w._stored_as) for w in self.windows]
        source = (self.source.name, self.source.timestamp_field, self.source.created_timestamp_column or "")
        text = json.dumps([sorted(self.join_keys), source, self.source.allowed_lateness_us, windows])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def column_kind(data_type: pa.DataType) -> str:
    """'integer', 'float' or 'other' for an Arrow type (booleans, timestamps, text and the rest are 'other')."""
    if pa.types.is_integer(data_type):
        return "integer"
    return "float" if pa.types.is_floating(data_type) else "other"
