"""Training windows: two million rows over two million events, beside DuckDB's and Spark SQL's range windows."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from pipelines.bench.lines import Line, compared, figures
from pipelines.bench.measure import MB, Measured, in_turns, measure
from pipelines.bench.repos import five_windows, references, windowed_store
from pipelines.bench.rivals import duckdb_windows, spark_windows
from pipelines.bench.worlds import World, write_log
from plumbline import FeatureStore

EVENTS = 2_000_000
THREADS = 2
_T = TypeVar("_T")
RUNS, SPARK_RUNS = 5, 2


class Disagreement(AssertionError):
    """Two ways to compute the same thing gave different results; nothing is reported as fast."""


def lines(scale: float, folder: Path) -> Iterator[Line]:
    """Exact sliding windows (tails of a microsecond, which SQL frames can say) for an entity row at every event.

    Results must be equal to the last integer for both engines of ours, DuckDB and Spark SQL. floor_read_s is what reading
    the log's files alone takes, with pyarrow.
    """
    from pipelines.bench import spark_session

    world = World(round(EVENTS * scale))
    log = write_log(world, folder / "log")
    rows = training_rows(log)
    ours_store = store_over(log, folder, "local")
    calls = {
        "ours": history_call(ours_store, rows),
        "duckdb": lambda: duckdb_windows(log, THREADS),
        "floor": lambda: pads.dataset(log).to_table(),
    }
    ours, duckdb, floor = in_turns(calls, RUNS).values()
    agree("DuckDB", ours.result, duckdb.result)
    spark = spark_session.start(str(folder))
    try:
        sql = elsewhere(measure(lambda: spark_windows(spark, log, folder / "spark_sql"), 1))
        agree("Spark SQL", ours.result, pads.dataset(sql.result, format="parquet").to_table())
        on_spark = elsewhere(measure(history_call(store_over(log, folder, "spark"), rows), SPARK_RUNS))
        if not on_spark.result.equals(ours.result):
            raise Disagreement("engine: spark gives another table than engine: local.")
    finally:
        spark.stop()
    bytes_mb = (input_bytes(log, rows) + ours.result.nbytes) / MB
    shape = {"rows": len(rows), "windows": 5, "features": 15}
    yield compared(
        "history", world.events, ours, {"duckdb": duckdb, "spark_sql": sql},
        **shape, same_results=True, floor_read_s=figures(floor.median_s), input_output_mb=round(bytes_mb),
        duckdb_peak_rss_mb=round(duckdb.peak_rss_mb),
    )  # fmt: skip
    yield compared("history_engine_spark", world.events, on_spark, {"spark_sql": sql}, **shape, same_results=True)


def store_over(log: Path, folder: Path, engine: str, every: str | None = "1us") -> FeatureStore:
    """A store with the five windows over a log; exact tails need a lateness as long as the longest window."""
    return windowed_store(folder, log, {"payments": five_windows(every)}, engine=engine, allowed_lateness="30d")


def training_rows(log: Path) -> pd.DataFrame:
    """An entity row at the instant of every event, in no order."""
    table = pads.dataset(log).to_table(columns=["user_id", "event_timestamp", "event_id"])
    first = table.group_by("event_id", use_threads=False).aggregate([("user_id", "first"), ("event_timestamp", "first")])
    frame = first.select(["user_id_first", "event_timestamp_first"]).rename_columns(["user_id", "event_timestamp"]).to_pandas()
    return frame.sample(frac=1, random_state=3).reset_index(drop=True)


def history_call(store: FeatureStore, rows: pd.DataFrame, as_known: bool = False) -> Callable[[], pa.Table]:
    """store.get_historical_features(...).to_arrow(), after one call on a few rows that compiles what there is to compile."""
    features = references(store.list_stream_feature_views())

    def call(entity_df: pd.DataFrame) -> pa.Table:
        job = store.get_historical_features(entity_df=entity_df, features=features, filter_by_created_timestamp=as_known)
        return job.to_arrow()

    call(rows.head(1_000))
    return lambda: call(rows)


def elsewhere(measured: Measured[_T]) -> Measured[_T]:
    """Of work that other processes did: the processor time of this one says nothing."""
    return replace(measured, cpu_seconds=(), kernel_seconds=())


def agree(name: str, ours: pa.Table, theirs: pa.Table) -> None:
    """Raise Disagreement unless every row of theirs is one of ours, as often, and nothing else."""
    at = pc.cast(pc.cast(ours["event_timestamp"], pa.timestamp("us", tz="UTC")), pa.int64())
    mine = ours.drop_columns(["event_timestamp"]).append_column("at_us", at)
    if theirs.num_rows != mine.num_rows:
        raise Disagreement(f"{name} gives {theirs.num_rows} rows, not {mine.num_rows}.")
    keys = [("user_id", "ascending"), ("at_us", "ascending")]
    mine, theirs = mine.sort_by(keys), theirs.select(mine.column_names).cast(mine.schema).sort_by(keys)
    for column in mine.column_names:
        if not mine[column].combine_chunks().equals(theirs[column].combine_chunks()):
            differ = pc.fill_null(pc.not_equal(pc.fill_null(mine[column], -1), pc.fill_null(theirs[column], -1)), True)
            raise Disagreement(f"{name}: {pc.sum(differ).as_py()} of {mine.num_rows} values of {column} differ.")


def input_bytes(log: Path, rows: pd.DataFrame) -> int:
    """Bytes of the log and of the entity rows as Arrow tables."""
    return pads.dataset(log).to_table().nbytes + pa.Table.from_pandas(rows, preserve_index=False).nbytes
