"""Columns of a source that look damaged: numbers among words or words among numbers, values far beyond all others, and texts
too many to tell apart."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.training.leaks import may_leak

NUMBER = r"^[+-]?[0-9]+([.,][0-9]+)?$"
COMMA = r"^[+-]?[0-9]+,[0-9]+$"
MONEY = r"^[$€£¥]? ?[+-]?[0-9][0-9.,' ]* ?([%$€£¥]|[A-Z]{3})?$"
"""A number with a currency, a per cent sign or marks between thousands: $12, 12 EUR, 12%, 1.234.500."""

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


def rare_texts(features: pa.Table, categories: Mapping[str, Sequence[str]]) -> list[str]:
    """One sentence for each text feature with values (n rows) beyond those that `categories`, of an Encoding, tells apart."""
    notes = []
    for name, texts in categories.items():
        others = features[name].filter(pc.invert(pc.is_in(features[name], pa.array(texts, pa.string())))).drop_null()
        if len(others):
            notes.append(
                f"{name}: the {len(texts):,} commonest texts are told apart; {len(others):,} of {features.num_rows:,} rows "
                f"have one of {len(others.unique()):,} others, scored as missing. If it is an id, take it out of the mapping."
            )
    return notes


def _numbers_among_words(name: str, values: pa.ChunkedArray) -> list[str]:
    """Also the other way round: one word makes text of a column of numbers."""
    known = values.drop_null()
    is_number = pc.match_substring_regex(known, NUMBER)
    numbers, words = known.filter(is_number), known.filter(pc.invert(is_number))
    commas = known.filter(pc.match_substring_regex(known, COMMA))
    if 0 < len(numbers) < FEW * len(known):
        return [
            f"{name}: {len(numbers):,} of {len(known):,} texts are numbers ({numbers[0].as_py()!r}, ...) among words: columns "
            "of those rows may be shifted. Each is a category of its own; give the mapping `values:` so that such rows are "
            "refused."
        ]
    told = []
    if 0 < len(words) < FEW * len(known):
        told.append(
            f"{name}: {len(words):,} of {len(known):,} texts are no numbers ({words[0].as_py()!r}, ...) among numbers: all are "
            "taken as texts, each a category of its own. `{column: ..., scale: 1}` in the mapping makes numbers of them and "
            "refuses the other rows."
        )
    money = words.filter(pc.match_substring_regex(words, MONEY))
    if len(money) > (1 - FEW) * len(known):
        told.append(
            f"{name}: {len(money):,} of {len(known):,} texts are numbers with a unit or marks between thousands "
            f"({money[0].as_py()!r}, ...): all are taken as texts, each a category of its own. Write plain numbers in the "
            "source."
        )
    if len(commas) and len(words) < FEW * len(known):
        told.append(
            f"{name}: {len(commas):,} of {len(known):,} texts are numbers with a comma ({commas[0].as_py()!r}, ...): all are "
            "taken as texts, each a category of its own. Write them with a point in the source."
        )
    return told


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
