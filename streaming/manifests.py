"""How far the archive of a log can be trusted: `_commits/batch-<number>.json`, each written after its batch's files.

A manifest holds the last offset copied per partition, inclusive and cumulative, so the newest one says all. A file is
named after the first offset of its batch: one that begins after the newest manifest was left by an unfinished batch.
Compacted files (compaction.py) hold committed rows only.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

COMMITS = "_commits"
FIRST_BATCH = 0
MANIFESTS_KEPT = 100
_MANIFEST = re.compile(r"batch-(\d{12})\.json")
_ARCHIVED = re.compile(r"archive-p(?P<partition>\d+)-o(?P<first_offset>\d+)-\d+\.parquet")


class ArchiveRefused(RuntimeError):
    """An archive that must not be continued as it is; the message says what to do."""


class LoadRunning(RuntimeError):
    """`make data` is replacing the history of the logs; the archive begins when it has ended."""


def require_no_load(run_dir: Path) -> None:
    """Raise LoadRunning while the data directory's load lock is held."""
    path = run_dir / "load.lock"
    if not path.exists():
        return
    with path.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LoadRunning("`make data` is replacing the history of the logs") from None


@contextmanager
def only_archive_of(log: Path) -> Iterator[None]:
    """Hold the log's archive lock: two archives would write the same records twice. Raises ArchiveRefused."""
    (log / COMMITS).mkdir(parents=True, exist_ok=True)
    with (log / COMMITS / ".archive.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArchiveRefused(f"Another archive writes {log}. Stop it with `make stop`.") from None
        yield


def recover(log: Path) -> dict[int, int]:
    """Remove what an unfinished batch left and return the end offsets of the newest manifest, {} for a new archive.

    Raises ArchiveRefused when there are archived files and no manifest: nothing says which of them are whole.
    """
    numbers = _numbers(log)
    files = list(_archived(log))
    unnamed = 0 if numbers else len(list(log.glob("event_date=*/archive-*.parquet")))
    if unnamed:
        raise ArchiveRefused(
            f"{log} holds {unnamed} archived files and no {COMMITS}/batch-*.json that says which are whole. Put the "
            f"manifests back, or delete {log}/event_date=*/archive-*.parquet: the topic is then copied again."
        )
    if not numbers:
        _write(log, FIRST_BATCH, {})
    ends = committed(log)
    for path, partition, first_offset in files:
        if first_offset > ends.get(partition, -1):
            path.unlink()
    for path in log.glob("event_date=*/.archive-*"):
        path.unlink()
    return ends


def committed(log: Path) -> dict[int, int]:
    """Last offset copied per partition, inclusive, by the newest manifest; {} when there is none."""
    numbers = _numbers(log)
    if not numbers:
        return {}
    offsets = json.loads(_path(log, numbers[-1]).read_text())["end_offsets"]
    return {int(partition): int(offset) for partition, offset in offsets.items()}


def committed_files(log: Path, folder: Path) -> list[Path]:
    """The archived files of one day's folder that the newest manifest covers, compacted ones included, by name."""
    ends = committed(log)
    batches = [path for path, partition, first_offset in _archived(log, folder.name) if first_offset <= ends.get(partition, -1)]
    return sorted([*batches, *folder.glob("archive-compacted-*.parquet")])


def newest(log: Path) -> int:
    """The number of the newest manifest; raises IndexError when there is none."""
    return _numbers(log)[-1]


def commit(log: Path, end_offsets: Mapping[int, int]) -> None:
    """Write the next manifest. Raises ArchiveRefused when it would go back: another archive wrote in between."""
    before = committed(log)
    back = {p: end for p, end in before.items() if end_offsets.get(p, -1) < end}
    if back:
        raise ArchiveRefused(f"The manifests of {log} are ahead of this archive ({back} against {dict(end_offsets)}).")
    numbers = _numbers(log)
    _write(log, numbers[-1] + 1 if numbers else FIRST_BATCH, end_offsets)
    for number in numbers[: -MANIFESTS_KEPT + 1]:
        _path(log, number).unlink(missing_ok=True)


def _write(log: Path, number: int, end_offsets: Mapping[int, int]) -> None:
    path = _path(log, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}")
    with unfinished.open("w") as file:
        json.dump({"end_offsets": {str(p): end for p, end in sorted(end_offsets.items())}}, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _path(log: Path, number: int) -> Path:
    return log / COMMITS / f"batch-{number:012d}.json"


def _numbers(log: Path) -> list[int]:
    found = (_MANIFEST.fullmatch(path.name) for path in (log / COMMITS).glob("batch-*.json"))
    return sorted(int(match[1]) for match in found if match)


def _archived(log: Path, day: str = "event_date=*") -> Iterator[tuple[Path, int, int]]:
    """Files of batches: path, partition and first offset. A compacted file has no batch."""
    for path in log.glob(f"{day}/archive-*.parquet"):
        match = _ARCHIVED.fullmatch(path.name)
        if match:
            yield path, int(match["partition"]), int(match["first_offset"])
