"""Online reads: one user, many windows, beside the raw read of the same bytes and Feast's own read of computed values."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import redis
from feast.online_response import OnlineResponse

from pipelines.bench import embedded_store
from pipelines.bench.history import Disagreement
from pipelines.bench.lines import Line, figures
from pipelines.bench.measure import peak_rss_mb
from pipelines.bench.precomputed import file_view, span_of, write_table
from pipelines.bench.repos import WINDOWS, references, stock_store, windowed_store
from pipelines.bench.wire import commands_of, raw_read
from pipelines.bench.worlds import END, World, names, write_log
from plumbline import FeatureStore, aggregate, as_of

EVENTS, USERS = 200_000, 5_000
READS, ASKED = 2_000, 200
"""Timed reads of each kind, and the different users among them."""
BLOCK, UNCOUNTED = 200, 20
"""Reads of one kind in a row, and how many before them do not count."""
AT = END + timedelta(seconds=2)
"""When is read: just after the newest event, so that the windows hold something."""
SHAPES = ((2, ("count", "sum", "max")), (10, ("count", "sum", "mean", "min", "max")))
"""How many views, and the functions of amount_cents over five windows in each."""
Read = Callable[[str], object]


def lines(scale: float, folder: Path) -> Iterator[Line]:
    """Two lines a shape: read_online and get_online_features, p50 of reads that take turns with the others in blocks.

    raw    the commands of one such read, recorded on the wire, sent again in one pipeline of redis-py, answers unparsed
    feast  get_online_features of a stock Redis store, as many views of as many integers that were computed before
    """
    users = max(ASKED, round(USERS * scale))
    log = write_log(World(max(users, round(EVENTS * scale)), users=users), folder / "log")
    asked = names("u", np.random.default_rng(2).choice(users, ASKED, replace=False)).to_pylist()
    reads = max(50, round(READS * min(1.0, scale * 10)))
    for views, functions in SHAPES:
        place = folder / f"{views}_views"
        per_view = len(WINDOWS) * len(functions)
        with embedded_store.running() as ours_at, embedded_store.running() as stock_at:
            store = _ours(place, log, views, functions, ours_at)
            kinds = _kinds(store, asked, ours_at) | {"feast": _stock(place, log, views, per_view, stock_at, asked[0])}
            _check(store, asked[:20])
            taken = take_turns(kinds, asked, reads)
        for name in ("read_online", "get_online_features"):
            yield _line(f"online_{name}", views, per_view * views, taken[name], {k: taken[k] for k in ("raw", "feast")})


def _ours(place: Path, log: Path, views: int, functions: Sequence[str], address: str) -> FeatureStore:
    aggregations = aggregate("amount_cents", functions, WINDOWS)
    store = windowed_store(place, log, {f"payments_{number}": aggregations for number in range(views)}, redis=address)
    store.materialize(*span_of(END))
    return store


def _kinds(store: FeatureStore, users: Sequence[str], address: str) -> dict[str, Read]:
    features = references(store.list_stream_feature_views())

    def get_online_features(user: str) -> object:
        with as_of(AT):
            return store.get_online_features(features, [{"user_id": user}], full_feature_names=True)

    def read_online(user: str) -> object:
        return store.read_online(features, [{"user_id": user}], AT)

    read_online(users[0])
    commands = {user: commands_of(lambda user=user: read_online(user)) for user in users}  # type: ignore[misc]
    host, port = address.split(":")
    client = redis.Redis(host=host, port=int(port))
    return {
        "read_online": read_online,
        "get_online_features": get_online_features,
        "raw": lambda user: raw_read(client, commands[user]),
    }


def _stock(place: Path, log: Path, views: int, features: int, address: str, user: str) -> Read:
    table = write_table(log, features, place / "table.parquet")
    declared = [file_view(f"computed_{number}", table, features) for number in range(views)]
    store = stock_store(place, "local", declared, address)
    store.materialize(*span_of(END))
    wanted = references(declared)

    def read(user: str) -> OnlineResponse:
        return store.get_online_features(wanted, [{"user_id": user}], full_feature_names=True)

    found = read(user).to_dict()
    if len(found) != 1 + len(wanted) or any(None in values for values in found.values()):
        raise Disagreement("Feast's own store does not hold what was materialized into it.")
    return read


def _check(store: FeatureStore, users: Sequence[str]) -> None:
    """Raise Disagreement unless what is read online is what history says at the same instant."""
    features = references(store.list_stream_feature_views())
    rows = pd.DataFrame({"user_id": users, "event_timestamp": pd.Timestamp(AT)})
    history = store.get_historical_features(entity_df=rows, features=features, full_feature_names=True).to_arrow()
    online = store.read_online(features, [{"user_id": user} for user in users], AT)
    for row, answer in zip(history.to_pylist(), online, strict=True):
        if any(row[name] != value for name, value in answer.features.items()):
            raise Disagreement(f"Online and history differ for {row['user_id']}.")


def take_turns(kinds: Mapping[str, Read], users: Sequence[str], times: int) -> dict[str, np.ndarray]:
    """Seconds of `times` reads of each kind, in turns of a block of reads each, the first few of a block not counted.

    Single reads must not take turns: Feast keeps the views of one registry at a time for the whole process, so that every
    read of one store would make the next read of another build its views anew.
    """
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    order = list(kinds)
    for block in range(-(-times // BLOCK)):
        first = block % len(order)
        for name in (*order[first:], *order[:first]):
            asked = [users[(block * BLOCK + number) % len(users)] for number in range(-UNCOUNTED, BLOCK)]
            seconds = [_seconds(kinds[name], user) for user in asked]
            taken[name] += seconds[UNCOUNTED:]
    return {name: np.array(seconds[:times]) for name, seconds in taken.items()}


def _seconds(read: Read, user: str) -> float:
    began = time.perf_counter()
    read(user)
    return time.perf_counter() - began


def _line(bench: str, views: int, features: int, ours: np.ndarray, others: Mapping[str, np.ndarray]) -> Line:
    p50 = float(np.median(ours))
    line: Line = {
        "bench": bench,
        "size": features,
        "ours_s": figures(p50),
        "ours_p99_s": figures(float(np.quantile(ours, 0.99))),
    }
    for name, seconds in others.items():
        line[f"{name}_s"] = figures(float(np.median(seconds)))
        line[f"{name}_p99_s"] = figures(float(np.quantile(seconds, 0.99)))
        line[f"ratio_{name}"] = figures(float(np.median(seconds)) / p50)
    line |= {"times_raw": figures(p50 / float(np.median(others["raw"]))), "peak_rss_mb": round(peak_rss_mb())}
    return line | {
        "views": views,
        "features": features,
        "reads": len(ours),
        "same_results": True,
        "note": f"{views} views, p50",
    }
