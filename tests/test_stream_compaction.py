"""Compaction: a closed day's small files become one, and whoever reads meanwhile sees every row once."""

import shutil
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from test_stream_archive import DAY_US, NOON, batch, copy_all, good, places, rows_of

from plumbline.event_log import log_positions, read_events
from plumbline.view_spec import LogSource
from streaming import compaction, manifests

FILES = 12
NOW = NOON + timedelta(days=3)


def archived(log: Path, files: int = FILES, days: int = 1) -> list[tuple[int, int]]:
    """A log of one record a file and day, all committed; returns their places."""
    manifests.recover(log)
    for offset in range(0, files * days, days):
        values = {offset + day: good(f"e-{offset + day}", NOON - timedelta(days=day)) for day in range(days)}
        copy_all([batch(0, values)], log, {0: offset - 1} if offset else {})
        manifests.commit(log, {0: offset + days - 1})
    return places(rows_of(log))


def compact_all(log: Path, scratch: Path, now: datetime = NOW) -> list[int]:
    return [compaction.compact(log, folder, scratch) for folder in compaction.closed_days(log, now)]


def test_a_closed_day_becomes_one_file_with_the_same_rows(tmp_path: Path):
    log, scratch = tmp_path / "log", tmp_path / "scratch"
    archived(log)
    before = rows_of(log)

    assert compact_all(log, scratch) == [FILES]

    assert [path.name for path in log.glob("event_date=*/*")] == [f"archive-compacted-{FILES:012d}.parquet"]
    assert sorted(rows_of(log), key=lambda row: row["source_offset"]) == sorted(before, key=lambda row: row["source_offset"])
    assert list(scratch.iterdir()) == []
    assert compact_all(log, scratch) == []


def test_a_day_that_is_not_closed_yet_and_a_day_of_few_files_stay_as_they_are(tmp_path: Path):
    archived(tmp_path / "open")
    archived(tmp_path / "few", files=compaction.FEWEST_FILES - 1)

    assert compact_all(tmp_path / "open", tmp_path / "scratch", now=NOON + timedelta(hours=35, minutes=59)) == []
    assert compact_all(tmp_path / "few", tmp_path / "scratch") == []


def test_late_rows_of_a_compacted_day_are_compacted_with_it(tmp_path: Path):
    log, scratch = tmp_path / "log", tmp_path / "scratch"
    archived(log)
    compact_all(log, scratch)
    for offset in range(FILES, 2 * FILES):
        copy_all([batch(0, {offset: good(f"e-{offset}")})], log, {0: offset - 1})
        manifests.commit(log, {0: offset})

    assert compact_all(log, scratch) == [FILES + 1]

    assert places(rows_of(log)) == [(0, offset) for offset in range(2 * FILES)]


def test_what_was_not_archived_or_not_committed_is_kept_as_it_is(tmp_path: Path):
    log, scratch = tmp_path / "log", tmp_path / "scratch"
    archived(log)
    day = log / f"event_date={NOON:%Y-%m-%d}"
    for name in ("history-00000.parquet", "pushed-1.parquet"):
        shutil.copy(next(day.glob("archive-*")), day / name)
    copy_all([batch(0, {FILES: good("unfinished")})], log, {0: FILES - 1})

    compact_all(log, scratch)
    manifests.recover(log)

    assert sorted(path.name for path in day.iterdir()) == [
        f"archive-compacted-{FILES:012d}.parquet",
        "history-00000.parquet",
        "pushed-1.parquet",
    ]
    assert manifests.committed(log) == {0: FILES - 1}


def test_a_crash_in_the_middle_leaves_the_log_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log, scratch = tmp_path / "log", tmp_path / "scratch"
    written = archived(log)

    def dies(*_: Path) -> None:
        raise KeyboardInterrupt

    for step in ("exchange", "_keep_newcomers"):
        with monkeypatch.context() as patched:
            patched.setattr(compaction, step, dies)
            with pytest.raises(KeyboardInterrupt):
                compact_all(log, scratch)
        assert places(rows_of(log)) == written
        compaction.recover(log, scratch)
        assert list(scratch.iterdir()) == []
        assert places(rows_of(log)) == written


def test_compacted_files_without_any_manifest_are_not_copied_beside(tmp_path: Path):
    log = tmp_path / "log"
    archived(log)
    compact_all(log, tmp_path / "scratch")
    shutil.rmtree(log / "_commits")

    with pytest.raises(manifests.ArchiveRefused, match="holds 1 archived files and no _commits"):
        manifests.recover(log)


def test_a_reader_sees_every_row_once_while_days_are_compacted(tmp_path: Path):
    log, days = tmp_path / "log", 10
    written = archived(log, days=days)
    source = LogSource("transactions", str(log), "event_timestamp", "created_timestamp", DAY_US * 30)
    seen: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(read_events(source, ["amount_cents"], join_keys=["user_id"]).num_rows)

    reader = threading.Thread(target=read)
    reader.start()
    compacted = compact_all(log, tmp_path / "scratch")
    done.set()
    reader.join()
    seen.append(read_events(source, ["amount_cents"], join_keys=["user_id"]).num_rows)

    assert compacted == [FILES] * days
    assert set(seen) == {len(written)} == {FILES * days}
    assert log_positions(source) == {0: FILES * days - 1}
    assert {pq.read_metadata(path).num_rows for path in log.glob("event_date=*/*.parquet")} == {FILES}
