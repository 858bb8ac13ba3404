"""Feature values as Feast's protobuf values, and back."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
from feast.protos.feast.types.Value_pb2 import Value as ValueProto

from plumbline.instant import to_microseconds


def value_proto(value: object, data_type: pa.DataType) -> ValueProto:
    """One value of an Arrow type as Feast's Value; None is the empty Value. Timestamps are whole seconds, as in Feast."""
    if value is None:
        return ValueProto()
    if pa.types.is_boolean(data_type):
        return ValueProto(bool_val=bool(value))
    if pa.types.is_integer(data_type):
        return ValueProto(int32_val=value) if data_type.bit_width < 64 else ValueProto(int64_val=value)
    if pa.types.is_floating(data_type):
        return ValueProto(float_val=value) if data_type.bit_width < 64 else ValueProto(double_val=value)
    if isinstance(value, bytes):
        return ValueProto(bytes_val=value)
    if isinstance(value, datetime):
        moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)  # naive is UTC, as everywhere in a log
        return ValueProto(unix_timestamp_val=to_microseconds(moment) // 1_000_000)
    return ValueProto(string_val=str(value) if isinstance(value, date | Decimal) else value)


def plain_value(proto: ValueProto) -> object:
    """The Python value inside a Feast Value; None for the empty one."""
    which = proto.WhichOneof("val")
    return None if which is None else getattr(proto, which)
