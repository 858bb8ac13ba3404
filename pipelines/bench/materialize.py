"""Materialize: states of windows over ten events a key, beside Feast's own engines over as many precomputed rows."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis
from feast import FeatureView

from pipelines.bench import embedded_store
from pipelines.bench.lines import Line, compared, figures
from pipelines.bench.measure import Measured, measure
from pipelines.bench.precomputed import file_view, span_of, spark_view, write_table
from pipelines.bench.repos import five_windows, stock_store, windowed_store
from pipelines.bench.worlds import END, World, write_log

KEYS = 1_000_000
EVENTS_A_KEY = 10
STOCK_KEYS = 100_000
"""Feast's own engines are measured on this many keys at most and the time is multiplied: they take a row at a time."""
FEATURES = 15


def lines(scale: float, folder: Path) -> Iterator[Line]:
    """store.materialize of one view of 15 features, once each, into an empty Valkey of its own.

    Ours reads raw events (ten a key) and installs states of five windows of count, sum and max. Feast's own reads a table of as
    many rows, of the same keys and times, that already holds 15 integers, keeps the newest row of each key and writes
    it. So Feast is spared the computing of the windows. floor_set_s is 1 MSET-sized write of the same bytes by redis-py.
    """
    from pipelines.bench import spark_session

    keys = max(10, round(KEYS * scale))
    world = World(keys * EVENTS_A_KEY, users=keys)
    with embedded_store.running() as address:
        log = write_log(world, folder / "log")
        store = windowed_store(folder, log, {"payments": five_windows(None)}, redis=address)
        ours = measure(lambda: store.materialize(*span_of(END)), 1)
        held_mb, floor = _floor(address)
    stock_keys = min(keys, max(10, round(STOCK_KEYS * min(1.0, scale * 10))))
    table = write_table(
        write_log(World(stock_keys * EVENTS_A_KEY, users=stock_keys), folder / "stock_log"), FEATURES, folder / "table.parquet"
    )
    others = {"feast_local": _stock(folder, "local", file_view("payments", table, FEATURES), stock_keys)}
    spark = spark_session.start(str(folder))
    try:
        others["feast_spark"] = _stock(folder, "spark", spark_view("payments", table, FEATURES), stock_keys)
    finally:
        spark.stop()
    scaled = {name: _times(measured, keys / stock_keys) for name, measured in others.items()}
    yield compared(
        "materialize", keys, ours, scaled,
        events=world.events, features=FEATURES, stock_keys=stock_keys, extrapolated=stock_keys < keys,
        store_mb=round(held_mb), floor_set_s=figures(floor.median_s),
        note=f"Feast measured on {stock_keys:,} keys" + (", extrapolated" if stock_keys < keys else ""),
    )  # fmt: skip


def _stock(folder: Path, kind: str, view: FeatureView, keys: int) -> Measured[None]:
    """Feast's own materialize; AssertionError unless the store then holds every key."""
    with embedded_store.running() as address:
        store = stock_store(folder, kind, [view], address)
        measured = measure(lambda: store.materialize(*span_of(END)), 1)
        host, port = address.split(":")
        with redis.Redis(host=host, port=int(port)) as client:
            held = client.dbsize()
        if held != keys:
            raise AssertionError(f"Feast's {kind} engine wrote {held} of {keys} keys.")
        return measured


def _times(measured: Measured, factor: float) -> Measured:
    return Measured(None, tuple(s * factor for s in measured.seconds), measured.peak_rss_mb, measured.added_mb)


def _floor(address: str) -> tuple[float, Measured[None]]:
    """MB that the store holds, and how long plain redis-py takes to write as many values of that size on average."""
    host, port = address.split(":")
    with redis.Redis(host=host, port=int(port)) as client:
        keys, held = client.dbsize(), client.info("memory")["used_memory"]
        value = b"x" * max(1, round(held / max(1, keys)) - 100)  # a key costs Valkey about a hundred bytes beside its value
        write: Callable[[], Any] = lambda: _write(client, keys, value)  # noqa: E731
        return held / 1e6, measure(write, 1)


def _write(client: redis.Redis, keys: int, value: bytes) -> None:
    for start in range(0, keys, 1_000):
        client.mset({f"floor:{number}": value for number in range(start, min(keys, start + 1_000))})
