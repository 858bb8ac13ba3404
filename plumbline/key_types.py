"""Join keys as they are declared and as they come: text and numbers never meet, so a key of another kind is refused."""

import pyarrow as pa
from feast.feature_view import FeatureView

from plumbline.arrow_types import arrow_type, plain_type
from plumbline.view_spec import DeclarationError, column_kind

_KINDS = {"integer": "number", "float": "number"}


def check_keys_of_log(view: FeatureView, schema: pa.Schema) -> None:
    """Refuse entities declared as another kind than their columns of the log, whose values no request could name."""
    for field in view.entity_columns if view.online else ():
        if field.name in schema.names and pa.types.is_timestamp(plain_type(schema.field(field.name).type)):
            raise DeclarationError(
                f"View '{view.name}': join key '{field.name}' is a timestamp, of which a request online carries whole seconds "
                "only; store it as text or an integer, or declare the view with online=False."
            )
    for name, declared, found in _unlike(view, schema):
        raise DeclarationError(
            f"View '{view.name}': join key '{name}' is declared as {declared} but the log holds {found}; give its entity the "
            "value_type of the log's column, or store the column as declared."
        )


def check_keys_of_events(view: FeatureView, events: pa.Table) -> None:
    """Refuse pushed events whose keys are of another kind than declared: they would be entities that nobody asks for."""
    given = pa.schema([field for field in events.schema if events[field.name].null_count < events.num_rows])
    for name, declared, found in _unlike(view, given):
        raise ValueError(
            f"Join key '{name}' of view '{view.name}' is {declared}, but the pushed column is {found}; push {declared}."
        )


def _unlike(view: FeatureView, schema: pa.Schema) -> list[tuple[str, pa.DataType, pa.DataType]]:
    """Join keys of another kind than declared: name, declared type, type in the schema."""
    keys = [(field.name, arrow_type(field.dtype)) for field in view.entity_columns if field.name in schema.names]
    pairs = [(name, declared, plain_type(schema.field(name).type)) for name, declared in keys]
    return [(name, declared, found) for name, declared, found in pairs if _kind(found) not in ("null", _kind(declared))]


def _kind(data_type: pa.DataType) -> str:
    if pa.types.is_timestamp(data_type):
        return "timestamp"
    kind = column_kind(data_type)
    return str(data_type) if kind == "other" else _KINDS[kind]
