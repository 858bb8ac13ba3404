"""A file of requests, held to what the service takes: ids and categories are text as written, money is whole cents."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from feature_repo.event_schema import CONTROL_CHARACTERS, EVENT_TYPES, LONGEST_ID, MAX_AMOUNT_CENTS
from pipelines.ingest.cells import text_of

IDS = ("user_id", "merchant_id", "device_id")
TEXTS = (*IDS, "event_type", "category", "channel", "country")
AMOUNT = "amount_cents"


class ScoringRefusedError(ValueError):
    """The file cannot be scored; the message says why and what to change or run."""


def read_table(path: Path) -> pa.Table:
    """The file's rows, TEXTS as text and AMOUNT as int64 where they are there, all other columns as they were.

    Raises ScoringRefusedError for what is no such file, has no row or no user_id, or holds what the service would refuse.
    """
    readers = {".csv": _read_csv, ".jsonl": pyarrow.json.read_json, ".parquet": pq.read_table}
    if path.suffix not in readers or not path.exists():
        raise ScoringRefusedError(f"INPUT={path} is not there, or is none of {', '.join(readers)}.")
    try:
        given = readers[path.suffix](path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ScoringRefusedError(f"INPUT={path} cannot be read: {error}") from None
    twice = sorted({name for name in given.column_names if given.column_names.count(name) > 1})
    if twice:
        raise ScoringRefusedError(f"INPUT={path} has the column {twice[0]} more than once.")
    if "user_id" not in given.column_names:
        raise ScoringRefusedError(f"INPUT={path} has no column user_id; it has {', '.join(given.column_names)}.")
    if not given.num_rows:
        raise ScoringRefusedError(f"INPUT={path} has no row; there is nothing to score.")
    for place, name in enumerate(given.column_names):
        if name in TEXTS:
            given = given.set_column(place, name, _texts(given[name], name))
        if name == AMOUNT:
            given = given.set_column(place, name, _cents(given[name]))
    _refuse_first(pc.is_null(given["user_id"]), "user_id is empty")
    if "event_type" in given.column_names:
        known = pc.is_in(given["event_type"], pa.array([*EVENT_TYPES, None]))
        _refuse_first(pc.invert(known), f"event_type is none of {', '.join(EVENT_TYPES)}")
    return given


def _read_csv(path: Path) -> pa.Table:
    """Ids keep their zeros (0007); only the empty field is null, NA is text."""
    kinds = dict.fromkeys(TEXTS, pa.string())
    options = pyarrow.csv.ConvertOptions(column_types=kinds, null_values=[""], strings_can_be_null=True)
    return pyarrow.csv.read_csv(path, convert_options=options)


def _texts(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    if pa.types.is_nested(column.type) or pa.types.is_boolean(column.type):
        raise ScoringRefusedError(f"{name} is {column.type}; write it as text.")
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        known = [None if value is None or value != value else text_of(value) for value in column.to_pylist()]
        texts = pa.chunked_array([pa.array(known, pa.string())])
    else:
        texts = column.cast(pa.string())
    length = pc.fill_null(pc.utf8_length(texts), 1)
    _refuse_first(pc.greater(length, LONGEST_ID), f"{name} is longer than {LONGEST_ID} characters")
    if name in IDS:
        _refuse_first(pc.equal(length, 0), f"{name} is empty")
    has_control = pc.match_substring_regex(texts, f"[{CONTROL_CHARACTERS}]")
    _refuse_first(pc.fill_null(has_control, False), f"{name} has a control character")
    return texts


def _cents(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_boolean(column.type):
        raise ScoringRefusedError(f"{AMOUNT} must be whole cents: it is {column.type}.")
    try:
        cents = column.cast(pa.int64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ScoringRefusedError(f"{AMOUNT} must be whole cents: {error}.") from None
    outside = pc.or_(pc.less(cents, 0), pc.greater(cents, MAX_AMOUNT_CENTS))
    _refuse_first(pc.fill_null(outside, False), f"{AMOUNT} is negative or above 10^15")
    return cents


def _refuse_first(is_bad: pa.ChunkedArray, why: str) -> None:
    """Raise ScoringRefusedError with the number of the first row (from 1) where is_bad is true."""
    row = pc.index(is_bad, True).as_py()
    if row >= 0:
        raise ScoringRefusedError(f"Row {row + 1}: {why}. The service would refuse it; correct it or leave it out.")
