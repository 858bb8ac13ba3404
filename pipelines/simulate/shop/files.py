"""The shop's events as Parquet in the REES46 format, one file a block of users, in memory for one block at a time."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.simulate.shop.catalog import Catalog
from pipelines.simulate.shop.events import BLOCK_USERS, Events, block, catalog_of
from pipelines.simulate.shop.visits import DAY_S

SECOND_US = 1_000_000
FIRST_USER = 500_000_000
KINDS = pa.array(["view", "cart", "purchase"])


def write_shop(folder: Path, users: int, days: int, until_us: int, seed: int, say: Callable[[str], None]) -> int:
    """Write part-NNNNN.parquet files whose `days` end at `until_us`, microseconds since the epoch; returns the events.

    Each file has its users' rows in order of time, all columns of REES46. Files that were there are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("part-*.parquet"):
        old.unlink()
    began, written = time.process_time(), 0
    catalog = catalog_of(seed)
    since_us = until_us - days * int(DAY_S) * SECOND_US
    blocks = -(-users // BLOCK_USERS)
    for number in range(blocks):
        count = min(BLOCK_USERS, users - number * BLOCK_USERS)
        made = block(catalog, seed, number, count, days)
        table = rows(catalog, made, since_us, FIRST_USER + number * BLOCK_USERS)
        pq.write_table(table, folder / f"part-{number:05d}.parquet", compression="zstd")
        written += table.num_rows
        spent = time.process_time() - began
        done = (number + 1) / blocks
        say(f"  {written:,} events, {done:.0%} of the users; {written / spent:,.0f} events a second of processor time")
    return written


def rows(catalog: Catalog, made: Events, since_us: int, first_user: int) -> pa.Table:
    """Events as REES46 writes them, in order of time."""
    at_us = since_us + made.at_s.round().astype(np.int64) * SECOND_US
    order = np.argsort(at_us, kind="stable")
    goods = catalog.rows.take(pa.array(made.product[order]))
    user = made.user[order] + first_user
    session = pc.binary_join_element_wise(_texts(user), _texts(made.session[order]), "-")
    columns = {name: goods[name] for name in ("product_id", "category_id", "category_code", "brand", "price")}
    return pa.table(
        {
            "event_time": pa.array(at_us[order], pa.timestamp("us", tz="UTC")),
            "event_type": pa.DictionaryArray.from_arrays(pa.array(made.kind[order]), KINDS),
            **columns,
            "user_id": user,
            "user_session": session,
        }
    )


def _texts(numbers: np.ndarray) -> pa.Array:
    return pa.array(numbers).cast(pa.string())
