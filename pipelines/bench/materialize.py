"""Materialize: states of windows over ten events a key, beside Feast's own engines over as many precomputed rows."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import redis
from feast import FeatureView

from pipelines.bench import embedded_store
from pipelines.bench.lines import Line, compared, figures
from pipelines.bench.measure import MB, Measured, measure
from pipelines.bench.precomputed import file_view, span_of, spark_view, write_table
from pipelines.bench.repos import five_windows, stock_store, windowed_store
from pipelines.bench.worlds import END, World, write_log

KEYS = 1_000_000
EVENTS_A_KEY = 10
STOCK_KEYS = 100_000
"""Feast's own engines are measured on this many keys at most and the time is multiplied: they take a row at a time."""
WARM_KEYS = 100
KEY_BYTES = 100
"""About what a key costs Valkey beside its value."""
FEATURES = 15


def lines(scale: float, folder: Path) -> Iterator[Line]:
    """store.materialize of one view of 15 features, once each, into an empty Valkey, after one of a hundred keys.

    Ours reads raw events, ten a key, and installs states of count, sum and max over five windows. Feast's own reads a
    table of as many rows, of the same keys and times, that already holds 15 integers, keeps the newest row of each key
    and writes that: it is spared the windows. floor_set_s is what MSET of values as large as our states takes redis-py.
    """
    from pipelines.bench import spark_session

    keys = max(10, round(KEYS * scale))
    stock_keys = min(keys, STOCK_KEYS)
    ours, held_mb, floor = _ours(folder, keys)
    table = _table(folder / "stock", stock_keys)
    others = {"feast_local": _stock(folder, "local", file_view, table, stock_keys)}
    spark = spark_session.start(str(folder))
    try:
        others["feast_spark"] = _stock(folder, "spark", spark_view, table, stock_keys)
    finally:
        spark.stop()
    scaled = {name: _times(measured, keys / stock_keys) for name, measured in others.items()}
    yield compared(
        "materialize", keys, ours, scaled,
        events=keys * EVENTS_A_KEY, features=FEATURES, stock_keys=stock_keys, extrapolated=stock_keys < keys,
        store_mb=round(held_mb), floor_set_s=figures(floor.median_s),
        note=f"Feast measured on {stock_keys:,} keys" + (", extrapolated" if stock_keys < keys else ""),
    )  # fmt: skip


def _ours(folder: Path, keys: int) -> tuple[Measured[None], float, Measured[None]]:
    """Ours, MB that the store then holds, and the floor; AssertionError unless it holds every key."""
    small, large = folder / "few", folder / "all"
    with embedded_store.running() as address:
        for place, users in ((small, WARM_KEYS), (large, keys)):
            log = write_log(World(users * EVENTS_A_KEY, users=users), place / "log")
            store = windowed_store(place, log, {"payments": five_windows(None)}, redis=address)
            with _client(address) as client:
                client.flushall()
            measured = measure(lambda store=store: store.materialize(*span_of(END)), 1)  # type: ignore[misc]
        return measured, *_floor(address, keys)


def _table(place: Path, keys: int) -> dict[int, Path]:
    """Tables for Feast's own engines, by their number of keys: a few to warm up, and all."""
    tables = {}
    for users in (WARM_KEYS, keys):
        log = write_log(World(users * EVENTS_A_KEY, users=users), place / f"log_{users}")
        tables[users] = write_table(log, FEATURES, place / f"table_{users}.parquet")
    return tables


def _stock(
    folder: Path, kind: str, view: Callable[[str, Path, int], FeatureView], tables: Mapping[int, Path], keys: int
) -> Measured[None]:
    """Feast's own materialize; AssertionError unless the store then holds every key."""
    with embedded_store.running() as address, _client(address) as client:
        for users, table in tables.items():
            client.flushall()
            store = stock_store(folder / f"{kind}_{users}", kind, [view("payments", table, FEATURES)], address)
            measured = measure(lambda store=store: store.materialize(*span_of(END)), 1)  # type: ignore[misc]
        if client.dbsize() != keys:
            raise AssertionError(f"Feast's {kind} engine wrote {client.dbsize()} of {keys} keys.")
        return measured


def _times(measured: Measured[None], factor: float) -> Measured[None]:
    return Measured(None, tuple(s * factor for s in measured.seconds), measured.peak_rss_mb, measured.added_mb)


def _floor(address: str, keys: int) -> tuple[float, Measured[None]]:
    """MB that the store holds, and how long plain redis-py takes to write as many values of that size on average."""
    with _client(address) as client:
        if client.dbsize() < keys:
            raise AssertionError(f"Materialize wrote {client.dbsize()} of {keys} keys.")
        held = client.info("memory")["used_memory"]
        value = b"x" * max(1, round(held / keys) - KEY_BYTES)
        return held / MB, measure(lambda: _write(client, keys, value), 1)


def _write(client: redis.Redis, keys: int, value: bytes) -> None:
    for start in range(0, keys, 1_000):
        client.mset({f"floor:{number}": value for number in range(start, min(keys, start + 1_000))})


def _client(address: str) -> redis.Redis:
    host, port = address.split(":")
    return redis.Redis(host=host, port=int(port))
