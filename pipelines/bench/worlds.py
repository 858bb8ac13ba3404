"""The event logs that are measured on: seeded, heavy-tailed, delivered by a topic, some events twice and some late."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

US = pa.timestamp("us", tz="UTC")
SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
END_US = 1_750_000_000 * SECOND_US
"""2025-06-15 15:06:40 UTC, when every log ends."""
END = datetime.fromtimestamp(END_US / SECOND_US, UTC)
SPAN_DAYS = 60
PARTITIONS = 4
EVENTS_A_USER = 40
TAIL = 0.8
"""User number i has events in proportion to (i + 1) ** -TAIL: among 50,000 users the first has 2.3 % of all events."""
ROWS_A_FILE = 1_000_000


@dataclass(frozen=True)
class World:
    """What a log is made of.

    events     how many different events
    users      how many users they are of; 0: one for every EVENTS_A_USER events
    delivered  False: history that came through no topic, without ids' offsets
    twice      share of events that the topic delivered a second time, minutes later
    late       share of events that the platform knew of up to half a day after they happened; else within two seconds
    """

    events: int
    users: int = 0
    delivered: bool = True
    twice: float = 0.001
    late: float = 0.0

    @property
    def user_count(self) -> int:
        return self.users or max(1, self.events // EVENTS_A_USER)


def write_log(world: World, folder: Path) -> Path:
    """Write the log as Parquet files in the order of creation; the folder."""
    table = log_of(world)
    folder.mkdir(parents=True)
    for number, start in enumerate(range(0, table.num_rows, ROWS_A_FILE)):
        pq.write_table(table.slice(start, ROWS_A_FILE), folder / f"part-{number:03}.parquet")
    return folder


def log_of(world: World) -> pa.Table:
    """The log's rows: user_id, amount_cents, event_id, times, source_partition and source_offset."""
    random = np.random.default_rng(11)
    n = world.events
    weights = np.arange(1, world.user_count + 1) ** -TAIL
    users = random.choice(world.user_count, n, p=weights / weights.sum())
    users[: min(n, world.user_count)] = np.arange(min(n, world.user_count))  # everybody has an event
    at = END_US - np.sort(random.integers(1, SPAN_DAYS * DAY_US, n))[::-1]
    random.shuffle(users)
    delay = random.integers(0, 2 * SECOND_US, n)
    delay = np.where(random.random(n) < world.late, random.integers(60 * SECOND_US, DAY_US // 2, n), delay)
    columns = {"user": users, "cents": random.integers(1, 500_000, n), "id": np.arange(n), "at": at, "created": at + delay}
    again = np.flatnonzero(random.random(n) < world.twice) if world.delivered else np.arange(0)
    rows = {name: np.concatenate((values, values[again])) for name, values in columns.items()}
    rows["created"][n:] += random.integers(60 * SECOND_US, 600 * SECOND_US, len(again))
    order = np.argsort(rows["created"], kind="stable")
    return _table({name: values[order] for name, values in rows.items()}, world.delivered)


def _table(rows: dict[str, np.ndarray], delivered: bool) -> pa.Table:
    n = len(rows["id"])
    columns = {
        "user_id": names("u", rows["user"]),
        "amount_cents": pa.array(rows["cents"]),
        "event_id": names("e", rows["id"]),
        "event_timestamp": pa.array(rows["at"]).cast(US),
        "created_timestamp": pa.array(rows["created"]).cast(US),
    }
    if delivered:
        partitions = rows["user"] % PARTITIONS
        offsets = np.empty(n, np.int64)
        for partition in range(PARTITIONS):
            mine = partitions == partition
            offsets[mine] = np.arange(mine.sum())
        columns |= {"source_partition": pa.array(partitions, pa.int32()), "source_offset": pa.array(offsets)}
    return pa.table(columns)


def names(prefix: str, numbers: np.ndarray) -> pa.Array:
    """Numbers as text: u17."""
    return pc.binary_join_element_wise(prefix, pa.array(numbers).cast(pa.string()), "")
