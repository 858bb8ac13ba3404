"""The archive: every good record once in plain Parquet, whatever is killed or lost; manifests never go back."""

import fcntl
import json
import os
import shutil
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as pads
import pytest
from stream_lab import last_offsets, running, send, settings_for, transaction, until, value_of

from feature_repo.event_schema import TRANSACTIONS
from stack import services
from streaming import manifests
from streaming.archive_files import copy

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY_US = 86_400_000_000


def rows_of(log: Path) -> list[dict]:
    """Every row that a reader sees who knows nothing of Spark or of manifests."""
    files = sorted(log.glob("event_date=*/*.parquet"))
    return pads.dataset(files, format="parquet").to_table().to_pylist() if files else []


def places(rows: list[dict]) -> list[tuple[int, int]]:
    return sorted((row["source_partition"], row["source_offset"]) for row in rows)


def batch(partition: int, values: dict[int, bytes]) -> pa.RecordBatch:
    """What Spark hands to a task: records of one partition, by offset, appended at noon."""
    rows = [
        {"partition": partition, "offset": offset, "timestamp": NOON, "key": b"u", "value": value}
        for offset, value in values.items()
    ]
    types = [("partition", pa.int32()), ("offset", pa.int64()), ("timestamp", pa.timestamp("us", "UTC"))]
    return pa.RecordBatch.from_pylist(rows, pa.schema([*types, ("key", pa.binary()), ("value", pa.binary())]))


def good(event_id: str, at: datetime = NOON) -> bytes:
    return value_of(transaction("u", event_id=event_id, event_timestamp=at.isoformat()))


def copy_all(batches: list[pa.RecordBatch], log: Path, committed: dict[int, int]) -> list[dict]:
    return [row for copied in copy(batches, "transactions", log, committed, DAY_US) for row in copied.to_pylist()]


def test_the_archive_holds_every_good_record_once_although_it_is_killed_and_its_checkpoint_lost(
    empty_topics: str, redis_server: str, tmp_path: Path
):
    settings = settings_for(empty_topics, redis_server, tmp_path)
    log = settings.transactions_path
    three_days_ago = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    twice = transaction("u-0")
    late = transaction("u-1", event_timestamp=three_days_ago)
    mixed = [twice, twice, late, *(transaction(f"u-{number}") for number in range(200))]
    records = [(event["user_id"], value_of(event)) for event in mixed] + [("u-1", b"{not json"), ("u-2", None)]
    refused_each_time = 2

    with running(services.archive(settings), settings) as pid:
        sent = send(empty_topics, "transactions", records)
        until(lambda: any(manifests.committed(log).values()), within_s=60)
        sent += [place for _ in range(5) for place in send(empty_topics, "transactions", records)]
        os.kill(pid, signal.SIGKILL)
    before = manifests.committed(log)
    shutil.rmtree(tmp_path / "checkpoints")
    sent += send(empty_topics, "transactions", records)
    with running(services.archive(settings), settings):
        until(lambda: manifests.committed(log) == last_offsets(empty_topics, "transactions"), within_s=60)

    rows = rows_of(log)
    assert len(places(rows)) == len(set(places(rows))) == len(sent) - 7 * refused_each_time
    assert set(places(rows)) < set(sent)
    assert {row["event_id"] for row in rows} == {event["event_id"] for event in mixed}
    assert [row["event_timestamp"].isoformat() for row in rows if row["too_late"]] == [three_days_ago] * 7
    assert all(manifests.committed(log)[partition] >= end for partition, end in before.items())
    assert pads.dataset(log, partitioning="hive").schema.field("event_timestamp").type == pa.timestamp("us", "UTC")


def test_a_copied_batch_is_files_of_its_events_days(tmp_path: Path):
    values = {7: good("a"), 8: b"bad", 9: good("b", NOON - timedelta(days=1)), 10: b"bad"}

    copied = copy_all([batch(2, values)], tmp_path, {})

    assert copied == [{"partition": 2, "last_offset": 10, "rows": 2, "refused": 2}]
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet")) == [
        "event_date=2026-02-28/archive-p2-o7-0.parquet",
        "event_date=2026-03-01/archive-p2-o7-0.parquet",
    ]
    assert pads.dataset(tmp_path / "event_date=2026-03-01").schema == TRANSACTIONS


def test_a_batch_that_is_copied_again_overwrites_itself(tmp_path: Path):
    batches = [batch(0, {0: good("a"), 1: good("b")}), batch(0, {2: good("c")})]

    copy_all(batches[:1], tmp_path, {})  # a task that died after its first file
    copy_all(batches, tmp_path, {})
    copy_all(batches, tmp_path, {})

    assert places(rows_of(tmp_path)) == [(0, 0), (0, 1), (0, 2)]


def test_records_that_a_manifest_covers_are_not_copied_again(tmp_path: Path):
    copy_all([batch(0, {0: good("a"), 1: good("b")})], tmp_path, {})

    rewound = copy_all([batch(0, {0: good("a"), 1: good("b"), 2: good("c")})], tmp_path, {0: 1})

    assert [row["rows"] for row in rewound] == [1]
    assert places(rows_of(tmp_path)) == [(0, 0), (0, 1), (0, 2)]
    assert copy_all([batch(0, {0: good("a")})], tmp_path, {0: 1}) == []


def test_what_an_unfinished_batch_left_is_removed_before_the_archive_goes_on(tmp_path: Path):
    manifests.recover(tmp_path)
    copy_all([batch(0, {0: good("a")}), batch(1, {0: good("b")})], tmp_path, {})
    manifests.commit(tmp_path, {0: 0, 1: 0})
    copy_all([batch(0, {1: good("c"), 2: good("d")})], tmp_path, {0: 0, 1: 0})

    assert manifests.recover(tmp_path) == {0: 0, 1: 0}
    assert places(rows_of(tmp_path)) == [(0, 0), (1, 0)]


def test_history_in_the_same_log_is_not_the_archives(tmp_path: Path):
    history = tmp_path / "event_date=2026-03-01" / "history-00000.parquet"
    manifests.recover(tmp_path)
    copy_all([batch(0, {0: good("a")})], tmp_path, {})
    shutil.copy(next(tmp_path.rglob("archive-*.parquet")), history)
    (tmp_path / "_commits" / "history.json").write_text('{"generation": 4}')

    manifests.recover(tmp_path)

    assert [path.name for path in tmp_path.rglob("*.parquet")] == ["history-00000.parquet"]
    assert (tmp_path / "_commits" / "history.json").read_text() == '{"generation": 4}'


def test_manifests_count_up_and_never_go_back(tmp_path: Path):
    manifests.recover(tmp_path)
    manifests.commit(tmp_path, {0: 41})
    manifests.commit(tmp_path, {0: 42, 3: 7})

    with pytest.raises(manifests.ArchiveRefused, match="ahead of this archive"):
        manifests.commit(tmp_path, {0: 42, 3: 6})

    found = sorted((tmp_path / "_commits").glob("batch-*.json"))
    assert [json.loads(path.read_text()) for path in found] == [
        {"end_offsets": {}},
        {"end_offsets": {"0": 41}},
        {"end_offsets": {"0": 42, "3": 7}},
    ]
    assert [path.name for path in found] == [f"batch-{number:012d}.json" for number in range(3)]


def test_archived_files_without_any_manifest_are_not_touched(tmp_path: Path):
    copy_all([batch(0, {0: good("a")})], tmp_path, {})

    with pytest.raises(manifests.ArchiveRefused, match="no _commits"):
        manifests.recover(tmp_path)

    assert places(rows_of(tmp_path)) == [(0, 0)]


def test_the_archive_waits_while_the_history_is_being_replaced(tmp_path: Path):
    manifests.require_no_load(tmp_path)
    with (tmp_path / "load.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        with pytest.raises(manifests.LoadRunning, match="make data"):
            manifests.require_no_load(tmp_path)

    manifests.require_no_load(tmp_path)


def test_one_log_has_one_archive(tmp_path: Path):
    second = manifests.only_archive_of(tmp_path)
    with manifests.only_archive_of(tmp_path), pytest.raises(manifests.ArchiveRefused, match="Another archive"):
        second.__enter__()

    with manifests.only_archive_of(tmp_path):
        pass
