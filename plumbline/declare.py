"""How a windowed feature is declared: two functions that return Feast's own objects."""

import json
import warnings
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
from feast import Entity, Field, PushSource, StreamFeatureView
from feast.aggregation import Aggregation
from feast.types import from_value_type

from plumbline.arrow_types import arrow_type, feast_type
from plumbline.durations import duration_name, microseconds
from plumbline.spec import COLUMNS_TAG, check_function, log_schema, output_type
from plumbline.view_spec import DeclarationError, LogSource


def aggregate(
    column: str,
    functions: str | Sequence[str],
    over: str | timedelta | Sequence[str | timedelta],
    every: str | timedelta | None = None,
) -> list[Aggregation]:
    """Windowed aggregations of one column: each function over each window, named `<column>_<function>_<over>`.

    functions  one or several of count, sum, mean, min, max, std, count_distinct, first, last
    over       the window's length: text like "10m", "1h", "7d" (kept as written in the name) or a timedelta
    every      resolution of the window's tail; left out: exact up to 1 h, 5 m up to 2 d, 1 h up to 30 d, then 1 d

    Raises DeclarationError for an unknown function or a duration that cannot be read.

    >>> [a.name for a in aggregate("amount_cents", ["sum", "max"], over="1h")]
    ['amount_cents_sum_1h', 'amount_cents_max_1h']
    """
    windows = list(over) if isinstance(over, Iterable) and not isinstance(over, str) else [over]
    chosen = [functions] if isinstance(functions, str) else list(functions)
    for function in chosen:
        check_function("-", column, function, None)
    try:
        if every is not None and microseconds(every) <= 0:
            raise ValueError(f"every is {duration_name(every)}; it must be longer than zero.")
        return [
            Aggregation(
                column=column,
                function=function,
                time_window=timedelta(microseconds=microseconds(window)),
                slide_interval=None if every is None else timedelta(microseconds=microseconds(every)),
                name=f"{column}_{function}_{duration_name(window)}",
            )
            for window in windows
            for function in chosen
        ]
    except OverflowError:
        raise DeclarationError(f"Aggregation of '{column}': a window must be shorter than 999999999 days.") from None
    except ValueError as error:
        raise DeclarationError(f"Aggregation of '{column}': {error}") from None


def windowed_view(
    *,
    name: str,
    entities: list[Entity],
    source: PushSource,
    aggregations: Iterable[Aggregation],
    schema: Iterable[Field] | None = None,
    online: bool = True,
    ttl: timedelta = timedelta(0),
    description: str = "",
    tags: dict[str, str] | None = None,
    owner: str = "",
    descriptions: dict[str, str] | None = None,
) -> StreamFeatureView:
    """A Feast StreamFeatureView whose schema is derived from its aggregations.

    source         PushSource over the event log: PushSource(name=, batch_source=FileSource(path=, timestamp_field=, ...))
    schema         the raw columns that are aggregated; needed only where the log does not exist yet
    descriptions   feature name -> sentence, for the registry; left out: derived from the aggregation

    Raises DeclarationError where a column's type is unknown or does not fit its function.
    """
    aggregations = list(aggregations)
    if not aggregations:
        raise DeclarationError(f"View '{name}': it has no aggregations; give at least one, for example with aggregate().")
    batch = getattr(source, "batch_source", None)
    if batch is None and not isinstance(source, PushSource):
        raise DeclarationError(f"View '{name}': its source must be a PushSource(name=, batch_source=FileSource(...)).")
    if batch is None or not batch.timestamp_field:
        raise DeclarationError(f"View '{name}': its source has no timestamp_field; name the column with the event's time.")
    raw = {field.name: arrow_type(field.dtype) for field in schema or ()}
    if not raw:
        raw = _log_columns(source, [aggregation.column for aggregation in aggregations])
    fields = [_field(name, aggregation, raw, descriptions or {}) for aggregation in aggregations]
    used = {a.column: str(raw[a.column]) for a in aggregations}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # Feast calls every StreamFeatureView experimental
        return StreamFeatureView(
            name=name,
            entities=entities,
            source=source,
            aggregations=aggregations,
            timestamp_field=batch.timestamp_field,
            schema=[*_key_fields(entities), *fields],
            online=online,
            ttl=ttl,
            description=description,
            tags={**(tags or {}), COLUMNS_TAG: json.dumps(used, sort_keys=True)},
            owner=owner,
        )


def _log_columns(source: PushSource, wanted: Sequence[str]) -> dict[str, pa.DataType]:
    """Columns of the log by name; a relative path is looked up from the working directory, where Feast loads a repo."""
    batch = source.batch_source
    mapping = tuple(sorted((batch.field_mapping or {}).items()))
    log = LogSource(source.name, str(Path(batch.path)), batch.timestamp_field, None, 0, mapping)
    found = log_schema(log, wanted)
    return {} if found is None else dict(zip(found.names, found.types, strict=True))


def _key_fields(entities: Sequence[Entity]) -> list[Field]:
    """Join keys as fields, typed by their entity where it says a type."""
    return [
        Field(name=entity.join_key, dtype=from_value_type(entity.value_type))
        for entity in entities
        if entity.value_type is not None and entity.value_type.name != "UNKNOWN"
    ]


def _field(view: str, aggregation: Aggregation, raw: dict[str, pa.DataType], descriptions: dict[str, str]) -> Field:
    if aggregation.column not in raw:
        known = f"the log has {', '.join(raw)}" if raw else "the log does not exist yet: pass schema=[...raw columns...]"
        raise DeclarationError(f"View '{view}': column '{aggregation.column}' is not known; {known}.")
    input_type = raw[aggregation.column]
    check_function(view, aggregation.column, aggregation.function, input_type)
    name = aggregation.resolved_name(aggregation.time_window)
    dtype = feast_type(output_type(aggregation.function, input_type))
    assert dtype is not None, "check_function refuses what Feast cannot serve"
    sentence = f"{aggregation.function} of {aggregation.column} over the last {duration_name(aggregation.time_window)}"
    return Field(
        name=name,
        dtype=dtype,
        description=descriptions.get(name, sentence),
    )
