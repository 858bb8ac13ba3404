"""Memory of the online store: bytes an entity in each view of the repo, in a world of 50,000 users."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import redis

from feature_repo import open_store
from feature_repo.event_schema import LABELS, TRANSACTIONS
from feature_repo.row_level import add_columns, add_label_columns
from feature_repo.settings import Settings
from pipelines.bench import embedded_store
from pipelines.bench.lines import Line, figures
from pipelines.bench.measure import peak_rss_mb
from pipelines.bench.precomputed import span_of
from pipelines.bench.worlds import DAY_US, END, END_US, TAIL, World, log_of, names
from pipelines.definitions import apply_definitions

USERS, EVENTS_A_USER, USERS_A_MERCHANT, DEVICES_A_USER = 50_000, 20, 25, 2
STREAMED_US = 7 * DAY_US
"""The newest events came through the topic, the older ones were loaded as history."""
FAVOURITES, LOYAL = 5, 0.8
"""How many merchants a user goes back to, and with what share of the events."""
LABELLED, LABEL_DELAY_US = 0.02, DAY_US
MEASURED_KEYS = 2_000
SHARES = {
    "event_type": (("payment", "view", "hold", "withdrawal"), (0.6, 0.25, 0.1, 0.05)),
    "category": (("food", "travel", "clothes"), (0.6, 0.1, 0.3)),
    "channel": (("app", "web", "pos"), (0.5, 0.3, 0.2)),
    "country": (("NO", "SE", "DE"), (0.9, 0.07, 0.03)),
}


def lines(scale: float, folder: Path) -> Iterator[Line]:
    """A line for each windowed view: what an entity's key takes in the store (MEMORY USAGE), its states, and their bytes.

    store_bytes   of a key, its name and what the store adds included
    state_bytes   of the states in it; `states` of them: history, and each partition that the entity was seen in

    A last line, `memory_all`, has everything the store holds, for each user; claims of event ids of seven days included.
    """
    users = max(100, round(USERS * scale))
    with embedded_store.running() as address:
        settings = Settings.from_env({"DATA_DIR": str(folder), "REDIS_CONNECTION_STRING": address})
        _write_logs(settings, users)
        apply_definitions(settings)
        store = open_store(settings)
        client: Any = redis.Redis.from_url(f"redis://{address}")
        empty = client.info("memory")["used_memory"]
        began = time.perf_counter()
        store.materialize(*span_of(END))
        told = {"size": users, "ours_s": figures(time.perf_counter() - began), "peak_rss_mb": round(peak_rss_mb())}
        for view in sorted(store.list_stream_feature_views(), key=lambda view: (view.entities, view.name)):
            yield {"bench": "memory", **told, **_of_view(view, client)}
        yield {"bench": "memory_all", **told, **_of_all(client, client.info("memory")["used_memory"] - empty, users)}


def _of_view(view: Any, client: Any) -> Line:
    keys = list(client.scan_iter(f"*:s:{view.name}:*", count=10_000))
    sample = keys[:: max(1, len(keys) // MEASURED_KEYS)]
    store_bytes = float(np.mean([client.memory_usage(key, samples=0) for key in sample]))
    sizes = [[len(state) for state in client.hvals(key)] for key in sample]
    state_bytes, states = (float(np.mean([count(of_key) for of_key in sizes])) for count in (sum, len))
    entity = "+".join(view.entities)
    return {
        "view": view.name, "entity": entity, "entities": len(keys),
        "store_bytes": round(store_bytes), "state_bytes": round(state_bytes), "states": figures(states, 3),
        "note": f"{view.name}: {store_bytes:,.0f} bytes a {entity}, {state_bytes:,.0f} of them in {states:.1f} states",
    }  # fmt: skip


def _of_all(client: Any, used: int, users: int) -> Line:
    claims = list(client.scan_iter("*:c:*", count=10_000))
    sample = claims[:: max(1, len(claims) // MEASURED_KEYS)]
    ids = sum(client.hlen(key) for key in sample)
    claim_bytes = sum(client.memory_usage(key, samples=0) for key in sample) / max(1, ids)
    return {
        "store_mb": round(used / 1e6, 1), "bytes_a_user": round(used / users), "claim_bytes": round(claim_bytes),
        "note": f"{used / 1e6:,.1f} MB, {used / users:,.0f} bytes a user; {claim_bytes:,.0f} bytes a claimed event id",
    }  # fmt: skip


def _write_logs(settings: Settings, users: int) -> None:
    """Transactions of the world and labels of some of them, as a load and an archive leave them."""
    random = np.random.default_rng(17)
    log = log_of(World(users * EVENTS_A_USER, users=users))
    count, merchants = log.num_rows, max(10, users // USERS_A_MERCHANT)
    log = log.append_column("merchant_id", names("m", _merchants(log["user_id"], users, merchants, random)))
    device = names("", random.integers(0, DEVICES_A_USER, count))
    log = log.append_column("device_id", pc.binary_join_element_wise(log["user_id"], device, "-d"))
    for name, (values, shares) in SHARES.items():
        log = log.append_column(name, pa.array(values).take(pa.array(random.choice(len(values), count, p=shares))))
    old = pc.less(log["event_timestamp"].cast(pa.int64()), END_US - STREAMED_US)
    for name in ("source_partition", "source_offset"):
        column = pc.if_else(old, pa.scalar(None, log.schema.field(name).type), log[name])
        log = log.set_column(log.schema.get_field_index(name), name, column)
    log = log.append_column("too_late", pa.array(np.zeros(count, bool)))
    _write(settings.transactions_path, TRANSACTIONS, add_columns(log))
    _write(settings.labels_path, LABELS, _labels(log.filter(pa.array(random.random(count) < LABELLED)), random))


def _merchants(user_ids: pa.ChunkedArray, users: int, merchants: int, random: np.random.Generator) -> np.ndarray:
    """A merchant for each event: mostly one of its user's few, else any; some merchants are far better known than others."""
    weights = np.arange(1, merchants + 1) ** -TAIL
    chosen = random.choice(merchants, (users, FAVOURITES), p=weights / weights.sum())
    user = pc.utf8_slice_codeunits(user_ids, 1).cast(pa.int64()).to_numpy()
    favourite = chosen[user, random.integers(0, FAVOURITES, len(user))]
    return np.where(random.random(len(user)) < LOYAL, favourite, random.choice(merchants, len(user), p=weights / weights.sum()))


def _labels(reported: pa.Table, random: np.random.Generator) -> pa.Table:
    known = pa.array(reported["created_timestamp"].cast(pa.int64()).to_numpy() + LABEL_DELAY_US)
    place = reported.schema.get_field_index("created_timestamp")
    reported = reported.set_column(place, "created_timestamp", known.cast(reported.schema.field(place).type))
    reported = reported.append_column("is_fraud", pa.array(random.integers(0, 2, reported.num_rows)))
    return add_label_columns(reported)


def _write(path: Path, schema: pa.Schema, table: pa.Table) -> None:
    columns = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    path.mkdir(parents=True)
    pq.write_table(pa.table(columns, schema=schema), path / "part-0.parquet")
