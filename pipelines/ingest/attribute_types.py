"""What type a slowly changing column has: said by its rule or by the Parquet files, or read from all loaded texts."""

import re
from collections.abc import Sequence

import pyarrow as pa

from feature_repo.event_schema import TIMESTAMP
from pipelines.ingest.rules import Rule

INFERRED = "inferred"
SCALED = "scaled"
ARROW_TYPES = {
    "string": pa.string(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": TIMESTAMP,
}
INTEGER = r"-?(0|[1-9][0-9]{0,17})"
NUMBER = r"-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?"
"""Regular expressions that Java and Python read alike. A leading zero is an id's, so `0007` stays text; so does what has
more digits than an int64, or before the point than a double, keeps."""


def declared_type(rule: Rule, parquet_types: Sequence[pa.DataType]) -> str:
    """string, int64, double, bool, timestamp; `inferred` or `scaled` where only the loaded texts can say.

    parquet_types: the column's Arrow type in each file when all files are Parquet, else empty.
    """
    if rule.unit or rule.timezone:
        return "timestamp"
    if rule.scale is not None:
        return SCALED
    if rule.values is not None or rule.constant is not None:
        return INFERRED
    kinds = {_of_arrow(kind) for kind in parquet_types}
    if not kinds:
        return INFERRED
    return kinds.pop() if len(kinds) == 1 else INFERRED


def inferred_type(declared: str, has_values: bool, all_integers: bool, all_numbers: bool) -> str:
    """The narrowest type that keeps every text: int64, double or string; string where there was none.

    What a rule scaled is a number by its rule, so it is int64 or double.
    """
    if declared == SCALED:
        return "int64" if has_values and all_integers else "double"
    if not has_values:
        return "string"
    return "int64" if all_integers else "double" if all_numbers else "string"


def looks_like(text: str) -> tuple[bool, bool]:
    """Whether a text is an integer, a number.

    >>> looks_like("42"), looks_like("4.2"), looks_like("0007")
    ((True, True), (False, True), (False, False))
    """
    return re.fullmatch(INTEGER, text) is not None, re.fullmatch(NUMBER, text) is not None


def _of_arrow(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return _of_arrow(kind.value_type)
    if pa.types.is_boolean(kind):
        return "bool"
    if kind == pa.uint64() or pa.types.is_decimal(kind):
        return INFERRED  # may hold more digits than an int64 or a double
    if pa.types.is_integer(kind):
        return "int64"
    if pa.types.is_floating(kind):
        return "double"
    return "timestamp" if pa.types.is_timestamp(kind) or pa.types.is_date(kind) else "string"
