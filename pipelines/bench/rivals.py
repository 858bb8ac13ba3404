"""The same training windows as people write them: RANGE frames in DuckDB and in Spark SQL, over the same Parquet.

Both remove re-deliveries first, as the log's rules ask: the first delivery of an id in its partition counts.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from pipelines.bench.repos import FUNCTIONS, WINDOWS
from plumbline.durations import microseconds

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COUNTED = (
    "SELECT user_id, amount_cents, {at_us} AS at_us, row_number() OVER "
    "(PARTITION BY source_partition, event_id ORDER BY source_offset) AS delivery FROM {log}"
)


def windows_sql(log: str, at_us: str) -> str:
    """One row a counted event: user_id, at_us (microseconds since the epoch) and `amount_cents_<function>_<window>`.

    log    how the dialect reads the Parquet files
    at_us  how it turns event_timestamp into microseconds
    """
    columns = [
        f"{_call(function)} OVER w{over} AS amount_cents_{function}_{over}" for over in WINDOWS for function in FUNCTIONS
    ]
    frames = [
        f"w{over} AS (PARTITION BY user_id ORDER BY at_us RANGE BETWEEN {microseconds(over)} PRECEDING AND 1 PRECEDING)"
        for over in WINDOWS
    ]
    counted = COUNTED.format(at_us=at_us, log=log)
    selected = ", ".join(_zero_where_empty(column) for column in columns)
    return f"SELECT user_id, at_us, {selected} FROM ({counted}) AS c WHERE delivery = 1 WINDOW {', '.join(frames)}"


def duckdb_windows(log: Path, threads: int) -> pa.Table:
    """DuckDB's answer, read from the files each time."""
    with duckdb.connect(config={"threads": threads}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.sql(windows_sql(f"read_parquet('{log}/*.parquet')", "epoch_us(event_timestamp)")).to_arrow_table()


def spark_windows(spark: "SparkSession", log: Path, target: Path) -> Path:
    """Spark SQL's answer, written as Parquet: a training set need not pass through the driver."""
    query = windows_sql(f"parquet.`{log}`", "unix_micros(event_timestamp)")
    spark.sql(query).write.mode("overwrite").parquet(str(target))
    return target


def _call(function: str) -> str:
    return "count(amount_cents)" if function == "count" else f"{function}(amount_cents)"


def _zero_where_empty(column: str) -> str:
    call, _, name = column.partition(" AS ")
    return f"CAST(coalesce({call}, 0) AS BIGINT) AS {name}" if call.startswith("sum") else column
