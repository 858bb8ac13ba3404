"""Kafka records as Parquet files of an event log: what a Spark task does with its range of one partition."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streaming.door import Record, admit
from streaming.event_topics import EVENT_TOPICS

DAY_US = 86_400_000_000
COPIED = pa.schema([("partition", pa.int32()), ("last_offset", pa.int64()), ("rows", pa.int64()), ("refused", pa.int64())])
COPIED_SPARK = "partition int, last_offset bigint, rows bigint, refused bigint"


def copy(
    batches: Iterable[pa.RecordBatch], topic: str, log: Path, committed: Mapping[int, int], lateness_us: int
) -> Iterator[pa.RecordBatch]:
    """Write the records after `committed` as files of the log; yields a row of COPIED for each file's worth of records.

    batches  partition, offset, timestamp (UTC), key and value of Spark's Kafka source; a partition's offsets ascend

    A file's name says the partition and the first offset of its batch, so a batch that is repeated, by a retried task
    or after a crash, overwrites what it wrote before.
    """
    first_offsets: dict[int, int] = {}
    written: dict[int, int] = defaultdict(int)
    for batch in batches:
        for partition, records in records_by_partition(batch, committed).items():
            first_offset = first_offsets.setdefault(partition, records[0].offset)
            stem = f"archive-p{partition}-o{first_offset}-{written[partition]}"
            written[partition] += 1
            yield _copy(topic, records, log, stem, lateness_us)


def _copy(topic: str, records: list[Record], log: Path, stem: str, lateness_us: int) -> pa.RecordBatch:
    event_topic = next(t for t in EVENT_TOPICS if t.name == topic)
    events, refused = admit(event_topic, records, lateness_us)
    days = pc.divide(events["event_timestamp"].cast(pa.int64()), DAY_US)
    for day in pc.unique(days).to_pylist():
        folder = log / f"event_date={date(1970, 1, 1) + timedelta(days=day)}"
        write(events.filter(pc.equal(days, day)), folder / f"{stem}.parquet")
    last = records[-1]
    return pa.RecordBatch.from_pylist(
        [{"partition": last.partition, "last_offset": last.offset, "rows": events.num_rows, "refused": len(refused)}],
        COPIED,
    )


def write(table: pa.Table, path: Path) -> None:
    """Write a file that is whole, and on the disk, as soon as it has its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}")
    with unfinished.open("wb") as file:
        pq.write_table(table, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def records_by_partition(batch: pa.RecordBatch, committed: Mapping[int, int]) -> dict[int, list[Record]]:
    """The records after `committed` of a batch of Spark's Kafka source, by partition."""
    appended_ms = pc.divide(batch["timestamp"].cast(pa.int64()), 1_000)
    columns = (batch["partition"], batch["offset"], appended_ms, batch["key"], batch["value"])
    records: dict[int, list[Record]] = defaultdict(list)
    for row in zip(*(column.to_pylist() for column in columns), strict=True):
        record = Record(*row)
        if record.offset > committed.get(record.partition, -1):
            records[record.partition].append(record)
    return records
