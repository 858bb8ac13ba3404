"""One row of a source as a reader hands it over, before the mapping has looked at it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """Row `row` (1 is the first row after the header) of one file.

    original  the row's text as it stands in the file, without its line end; JSON for Parquet
    values    one value a column of the file, None where empty; absent when `reason` says why the row is refused
    """

    row: int
    original: str
    values: list[Any] | None
    reason: str | None = None
