"""Arrow's types and Feast's: which Feast type a column or a result is served as, and types by their names."""

import re

import pyarrow as pa
from feast.type_map import pa_to_feast_value_type
from feast.types import Bytes, FeastType, from_feast_to_pyarrow_type, from_value_type

_WITH_ZONE = re.compile(r"timestamp\[(s|ms|us|ns), tz=(.+)\]")


def plain_type(data_type: pa.DataType) -> pa.DataType:
    """What a type means however it is laid out: dictionaries are their values, large and view text is text."""
    if pa.types.is_dictionary(data_type):
        return plain_type(data_type.value_type)
    if pa.types.is_large_string(data_type) or pa.types.is_string_view(data_type):
        return pa.string()
    if pa.types.is_large_binary(data_type) or pa.types.is_binary_view(data_type) or pa.types.is_fixed_size_binary(data_type):
        return pa.binary()
    return data_type


def feast_type(data_type: pa.DataType) -> FeastType | None:
    """The Feast type whose values an Arrow type's are; None for types that Feast cannot serve, such as dates and decimals."""
    try:
        return from_value_type(pa_to_feast_value_type(str(plain_type(data_type))))
    except KeyError:
        return None


def arrow_type(dtype: FeastType) -> pa.DataType:
    """The Arrow type of a Feast type; Feast's own function knows none for Bytes."""
    return pa.binary() if dtype == Bytes else from_feast_to_pyarrow_type(dtype)


def type_named(text: str) -> pa.DataType | None:
    """The Arrow type whose str() this is; None for nested types, which have no name that can be read back."""
    zoned = _WITH_ZONE.fullmatch(text)
    if zoned:
        return pa.timestamp(zoned[1], zoned[2])
    try:
        return pa.type_for_alias(text)
    except ValueError:
        return None
