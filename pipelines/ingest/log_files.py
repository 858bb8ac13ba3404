"""Staged rows as the Parquet files of the log: row-level columns added, moved in time, one folder a day (UTC)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame

from feature_repo.event_schema import LABELS, TIMESTAMP, TRANSACTIONS
from feature_repo.row_level import add_columns, add_label_columns
from pipelines.ingest.attribute_types import ARROW_TYPES
from pipelines.ingest.instants import CALENDAR_US
from pipelines.ingest.session import ROWS_PER_FILE
from pipelines.ingest.spark_schema import ddl

HISTORY = "history-"
EVENT_DATE = pa.field("event_date", pa.string())
Shaped = Callable[[pa.Table], pa.Table]


def transactions(rows: pa.Table, shift_us: int) -> pa.Table:
    """Staged rows as rows of the transaction log, `shift_us` later; history has no partition and is never too late."""
    return _shaped(add_columns(_moved(rows, shift_us)), TRANSACTIONS)


def labels(rows: pa.Table, shift_us: int) -> pa.Table:
    """Staged rows that have a label as rows of the label log, known at created_timestamp."""
    moved = _moved(
        rows.set_column(rows.schema.get_field_index("created_timestamp"), "created_timestamp", rows["known_us"]),
        shift_us,
    )
    is_fraud = pc.equal(moved["is_fraud"], 1)
    moved = moved.append_column("transaction_event_id", moved["event_id"])
    moved = moved.append_column("fraud_amount_cents", pc.if_else(is_fraud, moved["amount_cents"], pa.scalar(None, pa.int64())))
    return _shaped(add_label_columns(moved), LABELS)


def changes(key: tuple[str, ...], names: dict[str, str]) -> Callable[[pa.Table, int], pa.Table]:
    """A shaper of slowly changing rows: the key's columns, the two times, and `names` (name -> type) made from their texts."""

    def shaped(rows: pa.Table, shift_us: int) -> pa.Table:
        moved = _moved(rows, shift_us)
        columns = [_typed(rows[f"extra_{name}"], kind, shift_us) for name, kind in names.items()]
        times = [moved["event_timestamp"], moved["created_timestamp"]]
        return pa.table([*(moved[name] for name in key), *times, *columns], schema=change_schema(key, names))

    return shaped


def change_schema(key: tuple[str, ...], names: dict[str, str]) -> pa.Schema:
    keys = [(name, pa.string()) for name in key]
    own = [(name, ARROW_TYPES[kind]) for name, kind in names.items()]
    return pa.schema([*keys, ("event_timestamp", TIMESTAMP), ("created_timestamp", TIMESTAMP), *own])


def write_log(
    rows: DataFrame, shape: Callable[[pa.Table, int], pa.Table], schema: pa.Schema, shift_us: int, folder: Path
) -> None:
    """Write `rows`, shaped, as `folder`/event_date=YYYY-MM-DD/history-NNNNN.parquet, sorted by time inside a file.

    A log without rows gets one file without rows, so that its schema can be read.
    """

    def dated(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for table in _shaped_batches(batches, shape, shift_us):
            dates = pc.strftime(table["event_timestamp"], "%Y-%m-%d")
            yield from table.append_column(EVENT_DATE, dates).combine_chunks().to_batches()

    shaped = rows.mapInArrow(dated, ddl(schema.append(EVENT_DATE)))
    by_day = shaped.repartition("event_date").sortWithinPartitions("event_date", "event_timestamp", "event_id")
    writer = by_day.write.partitionBy("event_date").option("maxRecordsPerFile", ROWS_PER_FILE)
    writer.option("compression", "zstd").parquet(str(folder))
    name_history(folder)
    if not any(folder.glob("*/*.parquet")):
        write_empty_log(schema, folder)


def write_flat(
    rows: DataFrame, shape: Callable[[pa.Table, int], pa.Table], schema: pa.Schema, shift_us: int, folder: Path
) -> None:
    """Write `rows`, shaped, as `folder`/history-NNNNN.parquet without day folders."""

    def plain(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for table in _shaped_batches(batches, shape, shift_us):
            yield from table.combine_chunks().to_batches()

    rows.mapInArrow(plain, ddl(schema)).write.option("compression", "zstd").parquet(str(folder))
    name_history(folder)


def write_empty_log(schema: pa.Schema, folder: Path) -> None:
    """A log with one file without rows, so that its schema can be read."""
    write_empty(folder / "event_date=1970-01-01", schema)


def write_empty(folder: Path, schema: pa.Schema) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(schema.empty_table(), folder / f"{HISTORY}00000.parquet")


def name_history(folder: Path) -> None:
    """Give Spark's part files the log's names, and drop its markers and checksums."""
    for marker in (*folder.rglob("_SUCCESS"), *folder.rglob(".*.crc")):
        marker.unlink()
    for day in {file.parent for file in folder.rglob("part-*.parquet")}:
        for number, part in enumerate(sorted(day.glob("part-*.parquet"))):
            part.rename(day / f"{HISTORY}{number:05d}.parquet")


def _shaped_batches(
    batches: Iterator[pa.RecordBatch], shape: Callable[[pa.Table, int], pa.Table], shift_us: int
) -> Iterator[pa.Table]:
    for batch in batches:
        if batch.num_rows:
            yield shape(pa.Table.from_batches([batch]), shift_us)


def _moved(rows: pa.Table, shift_us: int) -> pa.Table:
    for name in ("event_timestamp", "created_timestamp"):
        rows = rows.set_column(rows.schema.get_field_index(name), name, _later(rows[name], shift_us))
    return rows


def _later(us: pa.ChunkedArray, shift_us: int) -> pa.ChunkedArray:
    """The instants moved; what stands for `never` (9999-12-31) stays inside the calendar, which readers cannot leave."""
    moved = pc.min_element_wise(pc.add_checked(us, shift_us), CALENDAR_US[-1], skip_nulls=False)
    return pc.max_element_wise(moved, CALENDAR_US[0], skip_nulls=False).cast(TIMESTAMP)


def _typed(texts: pa.ChunkedArray, kind: str, shift_us: int) -> pa.ChunkedArray:
    if kind == "timestamp":
        return _later(texts.cast(pa.int64()), shift_us)
    return texts.cast(ARROW_TYPES[kind])


def _shaped(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with exactly the columns of `schema`; what it lacks is null, too_late is false."""
    missing = {"too_late": pa.array([False] * table.num_rows)}
    columns = [
        table[field.name] if field.name in table.column_names else missing.get(field.name, pa.nulls(table.num_rows, field.type))
        for field in schema
    ]
    return pa.table(columns, schema=schema)
