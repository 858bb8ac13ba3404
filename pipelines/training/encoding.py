"""Feature values as the numbers a model takes: decided on the fit rows only and written into the contract."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MAX_CATEGORIES = 100


@dataclass(frozen=True)
class Encoding:
    """features in the order of the matrix; categories: the values of each text feature, a value's code is its index."""

    features: tuple[str, ...]
    categories: dict[str, list[str]]

    def matrix(self, table: pa.Table) -> np.ndarray:
        """(n, k) float64: numbers and bools as they are, text as codes; null and unseen values are NaN."""
        columns = [self._column(name, table[name]) for name in self.features]
        return np.column_stack(columns) if columns else np.empty((table.num_rows, 0))

    def category_indices(self) -> list[int]:
        return [i for i, name in enumerate(self.features) if name in self.categories]

    def _column(self, name: str, values: pa.ChunkedArray) -> np.ndarray:
        if name in self.categories:
            values = pc.index_in(
                values.cast(pa.string()), value_set=pa.array(self.categories[name], pa.string()), skip_nulls=True
            )
        return pc.cast(values, pa.float64(), safe=False).to_numpy()


def choose_encoding(table: pa.Table, names: Sequence[str]) -> tuple[Encoding, list[str]]:
    """How to encode the features of the fitting rows, and one note for each that is left out:
    all null, constant, of a type no model takes, or text with a new value in nearly every row."""
    kept, categories, notes = [], {}, []
    for name in names:
        values = table[name]
        reason = _unusable(values)
        if reason:
            notes.append(f"{name} was left out: {reason}.")
            continue
        kept.append(name)
        if _is_text(values.type):
            categories[name] = _commonest(values)
    return Encoding(tuple(kept), categories), notes


def _unusable(values: pa.ChunkedArray) -> str | None:
    if values.null_count == len(values):
        return "it is null in every fit row"
    if not (_is_text(values.type) or _is_number(values.type)):
        return f"no model takes its type {values.type}"
    distinct = pc.count_distinct(values, mode="only_valid").as_py()
    if distinct == 1 and values.null_count == 0:
        return f"it is {values[0].as_py()!r} in every fit row"
    if _is_text(values.type) and distinct > MAX_CATEGORIES and distinct > (len(values) - values.null_count) // 2:
        return f"{distinct:,} different texts in {len(values):,} rows say nothing about the next one"
    return None


def _commonest(values: pa.ChunkedArray) -> list[str]:
    """The MAX_CATEGORIES most frequent texts; ties in order of the text."""
    counts = pc.value_counts(values.drop_null())
    pairs = zip(counts.field("counts").to_pylist(), counts.field("values").to_pylist(), strict=True)
    return [text for _, text in sorted(pairs, key=lambda pair: (-pair[0], pair[1]))[:MAX_CATEGORIES]]


def _is_text(data_type: pa.DataType) -> bool:
    return pa.types.is_string(data_type) or pa.types.is_large_string(data_type)


def _is_number(data_type: pa.DataType) -> bool:
    return pa.types.is_integer(data_type) or pa.types.is_floating(data_type) or pa.types.is_boolean(data_type)
