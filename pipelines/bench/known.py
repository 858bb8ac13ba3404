"""As known: what leaving out what was not known yet costs, by the share of late events."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa

from pipelines.bench.history import agree, history_call, store_over, training_rows
from pipelines.bench.lines import Line, compared, figures
from pipelines.bench.measure import in_turns
from pipelines.bench.repos import FUNCTIONS, WINDOWS
from pipelines.bench.worlds import World, write_log
from plumbline.durations import microseconds

EVENTS = 2_000_000
LATE = (0.0, 0.01, 0.1)
RUNS = 5
SAMPLE = 500


def lines(scale: float, folder: Path) -> Iterator[Line]:
    """One line a share: `times_plain` is the call with filter_by_created_timestamp relative to the call without.

    The two take turns. The values of a sample of the rows are held against a join that says the definition, in DuckDB.
    """
    for late in LATE:
        place = folder / f"late_{late}"
        log = write_log(World(round(EVENTS * scale), late=late), place / "log")
        rows = training_rows(log)
        store = store_over(log, place, "local")
        calls = {"plain": history_call(store, rows), "ours": history_call(store, rows, as_known=True)}
        plain, ours = in_turns(calls, RUNS).values()
        agree("the join as known", ours.result.slice(0, SAMPLE), by_definition(log, rows.head(SAMPLE)))
        times, times_cpu = figures(ours.median_s / plain.median_s), figures((ours.cpu_s or 0.0) / (plain.cpu_s or 1.0))
        yield compared(
            "as_known", len(rows), ours, {"plain": plain},
            late=late, times_plain=times, times_plain_cpu=times_cpu, same_results=True,
            note=f"{late:.0%} late: {times:.2f} times the plain call (processor time {times_cpu:.2f})",
        )  # fmt: skip


def by_definition(log: Path, rows: pd.DataFrame) -> pa.Table:
    """The same features of a few rows as a join: the events before the row, in its window, created at or before it."""
    values = ", ".join(_value(function, over) for over in WINDOWS for function in FUNCTIONS)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("asked", pa.Table.from_pandas(rows, preserve_index=False))
        return connection.sql(f"""
            WITH e AS (
                SELECT user_id, amount_cents, epoch_us(event_timestamp) AS at_us, epoch_us(created_timestamp) AS created_us
                FROM read_parquet('{log}/*.parquet')
                QUALIFY row_number() OVER (PARTITION BY source_partition, event_id ORDER BY source_offset) = 1
            ), r AS (
                SELECT user_id, epoch_us(event_timestamp) AS at_us, row_number() OVER () AS number FROM asked
            )
            SELECT r.user_id, r.at_us, {values}
            FROM r LEFT JOIN e ON e.user_id = r.user_id AND e.at_us < r.at_us AND e.created_us <= r.at_us
            GROUP BY r.user_id, r.at_us, r.number
        """).to_arrow_table()


def _value(function: str, over: str) -> str:
    value = f"{function}(e.amount_cents) FILTER (e.at_us >= r.at_us - {microseconds(over)})"
    return f"CAST({f'coalesce({value}, 0)' if function == 'sum' else value} AS BIGINT) AS amount_cents_{function}_{over}"
