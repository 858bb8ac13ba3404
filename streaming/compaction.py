"""Small archived files of closed days become one: the day's folder is built anew, then old and new change places."""

import os
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq

from plumbline.exchange import exchange
from streaming import manifests

CLOSED_AFTER = timedelta(days=2)
"""How long after its beginning a day (UTC) is closed; what still comes late makes small files again, compacted later."""
FEWEST_FILES = 8
LARGEST_BYTES = 256 * 1024 * 1024
COMPACTED = "archive-compacted"
PUSHED = "pushed-"


class RowsChanged(RuntimeError):
    """A compacted file does not hold as many rows as the files it was made of; the log was left as it was."""


def closed_days(log: Path, now: datetime) -> Iterator[Path]:
    """Folders of closed days with enough small archived files, the oldest day first."""
    newest = f"event_date={(now.astimezone(UTC) - CLOSED_AFTER).date().isoformat()}"
    for folder in sorted(log.glob("event_date=[0-9]*")):
        is_worth_it = folder.name <= newest and len(list(folder.glob("archive-*.parquet"))) >= FEWEST_FILES
        if is_worth_it and len(small_files(log, folder)) >= FEWEST_FILES:
            yield folder


def small_files(log: Path, folder: Path) -> list[Path]:
    """The archived files of a day that a manifest covers and that are not large yet; of one schema, the newest file's.

    What a batch that was never committed has written is not among them: it will be written again.
    """
    written = [path for path in manifests.committed_files(log, folder) if path.stat().st_size < LARGEST_BYTES]
    if not written:
        return []
    schema = pq.read_schema(max(written, key=lambda path: path.stat().st_mtime_ns))
    return [path for path in written if pq.read_schema(path).equals(schema)]


def compact(log: Path, folder: Path, scratch: Path) -> int:
    """Make one file of a day's small ones; returns how many there were.

    scratch  a folder for the new day, on the log's file system and outside of the log

    Every other file of the day is kept. A reader that listed the old files finds them missing and lists again; none sees
    a row twice or too few. Nobody may archive into the log meanwhile. Raises RowsChanged.
    """
    merged, new = small_files(log, folder), scratch / folder.name
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    _merge(merged, new / f"{COMPACTED}-{manifests.newest(log):012d}.parquet")
    kept = [path for path in folder.iterdir() if path not in merged]
    for path in kept:
        os.link(path, new / path.name)
    exchange(new, folder)
    _keep_newcomers(new, folder, {path.name for path in (*merged, *kept)})
    shutil.rmtree(new)
    return len(merged)


def recover(log: Path, scratch: Path) -> None:
    """Remove what a crash left, a day half built or one that was replaced; a pushed file of the latter is kept."""
    for left in scratch.glob("event_date=*"):
        folder = log / left.name
        pushed = [path for path in left.glob(f"{PUSHED}*") if folder.exists() and not (folder / path.name).exists()]
        for path in pushed:
            path.rename(folder / path.name)
        shutil.rmtree(left)


def _merge(files: Sequence[Path], into: Path) -> None:
    with into.open("wb") as file:
        with pq.ParquetWriter(file, pq.read_schema(files[0]), compression="zstd") as writer:
            for path in files:
                writer.write_table(pq.read_table(path, partitioning=None))
        file.flush()
        os.fsync(file.fileno())
    rows = sum(pq.read_metadata(path).num_rows for path in files)
    if (written := pq.read_metadata(into).num_rows) != rows:
        raise RowsChanged(f"{into} holds {written} rows, the {len(files)} files that it is made of {rows}.")


def _keep_newcomers(old: Path, folder: Path, known: set[str]) -> None:
    """Move what somebody wrote into the day between the listing and the exchange."""
    for path in old.iterdir():
        if path.name not in known:
            path.rename(folder / path.name)
