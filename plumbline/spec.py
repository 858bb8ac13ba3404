"""What a windowed view asks for, compiled once from Feast's own objects; everything that makes no sense is refused here."""

import json
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
from feast import StreamFeatureView
from feast.aggregation import Aggregation
from feast.feature_view import DUMMY_ENTITY_ID, FeatureView
from feast.infra.offline_stores.file_source import FileSource

from plumbline.aggregates import ENTRIES, entry_code, is_registered, registered_functions
from plumbline.arrow_types import arrow_type, feast_type, plain_type, type_named
from plumbline.durations import DAY, LONGEST, MICROSECOND, default_slide_us, duration_name, microseconds, slide_is_allowed
from plumbline.key_types import check_keys_of_log
from plumbline.log_files import LogFiles, LogNotFoundError, open_log, raw_name, retried
from plumbline.view_spec import VALUELESS_FUNCTIONS, DeclarationError, LogSource, ViewSpec, WindowSpec, column_kind

KEPT_FUNCTIONS = ("count_distinct", "first", "last")
"""Functions that are no aggregates of a few words: they keep values, of any type."""

FUNCTIONS = (*registered_functions(), *KEPT_FUNCTIONS)
ANY_TYPE_FUNCTIONS = (*VALUELESS_FUNCTIONS, *KEPT_FUNCTIONS)
DEFAULT_ALLOWED_LATENESS_US = DAY
COLUMNS_TAG = "plumbline_columns"
"""Tag of a view that holds the raw columns' Arrow types as JSON, for a log that does not exist yet."""


def is_windowed(view: object) -> bool:
    """Whether Plumbline computes this view: a StreamFeatureView that declares aggregations."""
    return isinstance(view, StreamFeatureView) and bool(view.aggregations)


def join_keys_of(view: FeatureView) -> list[str]:
    """The columns that name an entity of a view; none where it has no entities, for which Feast makes a key up."""
    return [key for key in view.join_keys if key != DUMMY_ENTITY_ID]


def log_source(view: FeatureView, repo_path: Path | str | None) -> LogSource:
    """The log behind a view (windowed or slowly changing).

    Raises DeclarationError when the view has no FileSource batch source or its lateness tag is not a duration.
    """
    batch = view.batch_source
    if not isinstance(batch, FileSource):
        raise DeclarationError(
            f"View '{view.name}' needs a log: declare PushSource(batch_source=FileSource(path=..., timestamp_field=...))."
        )
    stream = view.stream_source
    tags = {**(batch.tags or {}), **((stream.tags or {}) if stream is not None else {})}
    lateness = tags.get("allowed_lateness")
    try:
        lateness_us = DEFAULT_ALLOWED_LATENESS_US if lateness is None else microseconds(lateness)
    except ValueError as error:
        raise DeclarationError(f"View '{view.name}': tag allowed_lateness of its source: {error}") from None
    if lateness_us > LONGEST:
        raise DeclarationError(
            f"View '{view.name}': tag allowed_lateness of its source is {lateness}; it must be at most 36525d."
        )
    return LogSource(
        name=stream.name if stream is not None else batch.name,
        path=FileSource.get_uri_for_file_path(repo_path, batch.path),
        timestamp_field=batch.timestamp_field,
        created_timestamp_column=batch.created_timestamp_column or None,
        allowed_lateness_us=lateness_us,
        field_mapping=tuple(sorted((batch.field_mapping or {}).items())),
    )


def log_schema(source: LogSource, wanted: Iterable[str] = ()) -> pa.Schema | None:
    """Columns and Arrow types of a log under the names that views use; None where there is no file yet.

    wanted  columns to look for in every file until one says their type: an early batch may lack a later column, or hold
            nothing but nulls in it

    What stands in Hive folder names alone is text, as it is read.
    """
    try:
        types = retried(lambda: _stored_types(open_log(source), {raw_name(source, name) for name in wanted}))
    except LogNotFoundError:
        return None
    renamed = dict(source.field_mapping)
    return pa.schema([(renamed.get(name, name), data_type) for name, data_type in types.items()]) if types else None


def _times(source: LogSource) -> list[str]:
    return [name for name in (source.timestamp_field, source.created_timestamp_column) if name]


def _stored_types(log: LogFiles, wanted: set[str]) -> dict[str, pa.DataType]:
    types: dict[str, pa.DataType] = {}
    folders = {name: pa.string() for names in log.partitions for name in names}
    for fragment in log.fragments:
        for field in fragment.physical_schema:
            if types.get(field.name, pa.null()) == pa.null():
                types[field.name] = plain_type(field.type)
        if all((folders | types).get(name, pa.null()) != pa.null() for name in wanted):
            break
    return folders | types


def view_spec(view: StreamFeatureView, repo_path: Path | str | None) -> ViewSpec:
    """Compile a windowed view as it stands in the registry (entity columns resolved).

    Raises DeclarationError, one sentence with what is allowed, for everything that makes no sense.
    """
    source = log_source(view, repo_path)
    schema = log_schema(source, [*view.join_keys, *_times(source), *(a.column for a in view.aggregations)])
    _check_timestamp(view, source, schema)
    _check_names(view, schema)
    if schema is not None:
        check_keys_of_log(view, schema)
    windows = tuple(_window(view, aggregation, schema, source) for aggregation in view.aggregations)
    return ViewSpec(view.name, tuple(field.name for field in view.entity_columns), source, windows)


def output_type(function: str, input_type: pa.DataType) -> pa.DataType:
    """Arrow type of a function's result: count_distinct int64, first and last the column's own, others as registered.

    Counts and integer sums are int64, float sums, means and stds float64, min and max the column's own type.
    """
    if function in KEPT_FUNCTIONS:
        return pa.int64() if function == "count_distinct" else input_type
    result = ENTRIES[entry_code(function, aggregated_kind(input_type))].result
    return {"integer": pa.int64(), "float": pa.float64(), "column": input_type}[result]


def aggregated_kind(data_type: pa.DataType) -> str:
    """'integer' or 'float': the kind of aggregate that takes in a column; where values are not looked at, any will do."""
    return "float" if column_kind(data_type) == "float" else "integer"


def check_function(view_name: str, column: str, function: str, input_type: pa.DataType | None) -> None:
    """Refuse an unknown function, and an arithmetic one over a column that is not a number."""
    if function not in FUNCTIONS:
        raise DeclarationError(
            f"View '{view_name}': function '{function}' of '{column}' is unknown; use one of {', '.join(FUNCTIONS)}."
        )
    if input_type is None:
        return
    if pa.types.is_null(input_type) and function not in ("count", "count_distinct"):
        raise DeclarationError(
            f"View '{view_name}': {function} of '{column}' has no type, because the log holds nothing but nulls there; "
            "declare the view with windowed_view(schema=[...raw columns...])."
        )
    if pa.types.is_nested(input_type) and function not in VALUELESS_FUNCTIONS:
        raise DeclarationError(
            f"View '{view_name}': {function} of '{column}' is not defined for {input_type}; "
            f"such a column has {', '.join(VALUELESS_FUNCTIONS)}."
        )
    if column_kind(input_type) == "other" and function not in ANY_TYPE_FUNCTIONS:
        raise DeclarationError(
            f"View '{view_name}': {function} of '{column}' needs an integer or a float column but it is {input_type}; "
            f"such a column has {', '.join(ANY_TYPE_FUNCTIONS)}."
        )
    if function not in KEPT_FUNCTIONS and not is_registered(function, aggregated_kind(input_type)):
        raise DeclarationError(
            f"View '{view_name}': {function} of '{column}' is not defined for {input_type}, only for the other kind of number."
        )
    if feast_type(output_type(function, input_type)) is None:
        raise DeclarationError(
            f"View '{view_name}': {function} of '{column}' would be a {input_type}, which Feast has no type for; "
            "make the column text, a number or a timestamp, or take its count or count_distinct."
        )


def _window(view: StreamFeatureView, aggregation: Aggregation, schema: pa.Schema | None, source: LogSource) -> WindowSpec:
    name = aggregation.resolved_name(aggregation.time_window)
    where = f"View '{view.name}', feature '{name}'"
    if aggregation.time_window is None or microseconds(aggregation.time_window) <= 0:
        raise DeclarationError(f"{where}: time_window is {aggregation.time_window}; it must be longer than zero.")
    window_us = microseconds(aggregation.time_window)
    if window_us > LONGEST:
        raise DeclarationError(f"{where}: time_window is {duration_name(aggregation.time_window)}; it must be at most 36525d.")
    slide_us = microseconds(aggregation.slide_interval) if aggregation.slide_interval is not None else window_us
    if slide_us == window_us:
        slide_us = default_slide_us(window_us)
    if not slide_is_allowed(slide_us, window_us):
        raise DeclarationError(
            f"{where}: slide_interval {duration_name(aggregation.slide_interval)} of a window of "
            f"{duration_name(aggregation.time_window)} is not allowed; it must be at most the window and divide one day "
            "(1s, 5m, 1h, ...) or be a multiple of one day."
        )
    if slide_us == MICROSECOND and window_us > source.allowed_lateness_us:
        raise DeclarationError(
            f"{where}: an exact window of {duration_name(aggregation.time_window)} is longer than the log's "
            f"allowed_lateness of {source.allowed_lateness_us / 1e6:g} s; give a coarser slide_interval or raise the lateness."
        )
    check_function(view.name, aggregation.column, aggregation.function, None)
    input_type = _input_type(view, aggregation, name, schema)
    check_function(view.name, aggregation.column, aggregation.function, input_type)
    declared = {field.name: arrow_type(field.dtype) for field in view.features}.get(name)
    if declared is None:
        raise DeclarationError(f"{where}: the view's schema has no field '{name}'; add it, or use windowed_view().")
    return WindowSpec(
        name,
        aggregation.column,
        aggregation.function,
        window_us,
        slide_us,
        input_type,
        _checked_output_type(where, aggregation.function, input_type, declared),
    )


def _input_type(view: StreamFeatureView, aggregation: Aggregation, name: str, schema: pa.Schema | None) -> pa.DataType:
    """The column's type: as windowed_view() declared it, else from the log, else from the declared result."""
    where = f"View '{view.name}', feature '{name}'"
    tagged = json.loads(view.tags.get(COLUMNS_TAG, "{}")).get(aggregation.column)
    declared = None if tagged is None else type_named(tagged)
    if schema is None:
        return declared if declared is not None else _type_from_results(view, aggregation, name)
    if aggregation.column not in schema.names:
        raise DeclarationError(f"{where}: the log has no column '{aggregation.column}'; it has {', '.join(schema.names)}.")
    found = schema.field(aggregation.column).type
    if pa.types.is_null(found):
        return declared if declared is not None else _type_from_results(view, aggregation, name)
    if declared is not None and column_kind(declared) != column_kind(found):
        raise DeclarationError(f"{where}: '{aggregation.column}' is declared as {declared} but the log holds {found}.")
    return declared if declared is not None else found


def _type_from_results(view: StreamFeatureView, aggregation: Aggregation, name: str) -> pa.DataType:
    declared = {field.name: arrow_type(field.dtype) for field in view.features}
    for other in view.aggregations:
        result = declared.get(other.resolved_name(other.time_window))
        if (
            other.column == aggregation.column
            and other.function in ("sum", "min", "max", "first", "last")
            and result is not None
        ):
            return result
    if aggregation.function == "count":
        return pa.string()
    raise DeclarationError(
        f"View '{view.name}', feature '{name}': the type of column '{aggregation.column}' is not known, because the log "
        "does not exist yet; create the log, or declare the view with windowed_view(schema=[...raw columns...])."
    )


def _checked_output_type(where: str, function: str, input_type: pa.DataType, declared: pa.DataType) -> pa.DataType:
    natural = output_type(function, input_type)
    same_kind = column_kind(natural) == column_kind(declared)
    if same_kind or (column_kind(natural) == "integer" and column_kind(declared) == "float"):
        return declared if column_kind(natural) != "other" else natural
    raise DeclarationError(f"{where}: declared as {declared}, but {function} of a {input_type} column is {natural}.")


def _check_timestamp(view: StreamFeatureView, source: LogSource, schema: pa.Schema | None) -> None:
    if not source.timestamp_field:
        raise DeclarationError(f"View '{view.name}': its source has no timestamp_field; name the column with the event's time.")
    if view.timestamp_field and view.timestamp_field != source.timestamp_field:
        raise DeclarationError(
            f"View '{view.name}': timestamp_field '{view.timestamp_field}' differs from '{source.timestamp_field}' of its "
            "source; both must name the same column."
        )
    if not join_keys_of(view):
        raise DeclarationError(f"View '{view.name}': it has no entity; name at least one entity with a join key.")
    if schema is None:
        return
    for column in (*_times(source), *(field.name for field in view.entity_columns)):
        if column not in schema.names:
            raise DeclarationError(
                f"View '{view.name}': the log {source.path} has no column '{column}'; it has {', '.join(schema.names)}."
            )
    for column in _times(source):
        found = schema.field(column).type
        if not (pa.types.is_timestamp(found) or pa.types.is_date(found) or pa.types.is_null(found)):
            raise DeclarationError(
                f"View '{view.name}': column '{column}' of the log {source.path} is {found}; times are timestamps."
            )


def _check_names(view: StreamFeatureView, schema: pa.Schema | None) -> None:
    """Each feature has a name of its own, which is no column's and no join key's."""
    taken = {field.name for field in view.entity_columns} | set(schema.names if schema is not None else ())
    taken |= {aggregation.column for aggregation in view.aggregations} | set(json.loads(view.tags.get(COLUMNS_TAG, "{}")))
    seen: set[str] = set()
    for name in (aggregation.resolved_name(aggregation.time_window) for aggregation in view.aggregations):
        if name in taken:
            raise DeclarationError(
                f"View '{view.name}': feature '{name}' is named like a column or join key; give it another name."
            )
        if name in seen:
            raise DeclarationError(
                f"View '{view.name}': two aggregations are named '{name}'; give one of them another name or window."
            )
        seen.add(name)
