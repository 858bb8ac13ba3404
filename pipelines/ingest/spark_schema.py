"""Arrow schemas as Spark writes them down."""

import pyarrow as pa

SPARK_NAMES = {
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.float64(): "double",
    pa.string(): "string",
    pa.bool_(): "boolean",
    pa.timestamp("us", tz="UTC"): "timestamp",
}


def ddl(schema: pa.Schema) -> str:
    """The schema as Spark DDL: "`event_id` string, `amount_cents` bigint"."""
    return ", ".join(f"`{field.name}` {SPARK_NAMES[field.type]}" for field in schema)
