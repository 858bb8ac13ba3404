"""Columns of a source that look damaged: numbers among words, and values far beyond all others."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.training.leaks import may_leak

NUMBER = r"^[+-]?[0-9]+([.,][0-9]+)?$"
FEW = 0.2
BEYOND = 100.0
"""A value is absurd when it is so many times the 99th percentile: salaries of 2.2e10 among those of 4e6."""

LEAST_ROWS = 100


def odd_columns(features: pa.Table) -> list[str]:
    """One sentence, with the remedy, for each of the source's own columns (n rows) that looks damaged."""
    notes = []
    for name in filter(may_leak, features.column_names):
        values = features[name]
        is_text = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
        is_number = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
        if is_text:
            notes += _numbers_among_words(name, values)
        elif is_number:
            notes += _absurd(name, values)
    return notes


def _numbers_among_words(name: str, values: pa.ChunkedArray) -> list[str]:
    known = values.drop_null()
    numbers = known.filter(pc.match_substring_regex(known, NUMBER))
    if not 0 < len(numbers) < FEW * len(known):
        return []
    return [
        f"{name}: {len(numbers):,} of {len(known):,} texts are numbers ({numbers[0].as_py()!r}, ...) among words: columns of "
        "those rows may be shifted. Each is a category of its own; give the mapping `values:` so that such rows are refused."
    ]


def _absurd(name: str, values: pa.ChunkedArray) -> list[str]:
    known = np.asarray(values.drop_null().to_numpy(), dtype=np.float64)
    if len(known) < LEAST_ROWS:
        return []
    usual = float(np.quantile(np.abs(known), 0.99))
    absurd = int((np.abs(known) > BEYOND * max(usual, 1.0)).sum())
    if not absurd:
        return []
    return [
        f"{name}: {absurd:,} of {len(known):,} values are more than {BEYOND:.0f} times the 99th percentile ({usual:,.6g}; the "
        f"largest is {np.abs(known).max():,.6g}). Trees do not mind, averages do; correct them in the source."
    ]
