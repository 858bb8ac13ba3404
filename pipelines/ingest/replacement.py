"""The history replaced in one step: the new events folder is built beside the old one, then they change places."""

import json
import os
import shutil
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.ingest.log_files import HISTORY
from plumbline.exchange import exchange

COMMITS = "_commits"
MANIFEST = "history.json"


def history_generation(events: Path) -> int:
    """The generation of the history now in `events`, the largest of its logs; 0 where none was ever loaded."""
    manifests = events.glob(f"*/{COMMITS}/{MANIFEST}")
    return max((int(json.loads(path.read_text())["generation"]) for path in manifests), default=0)


def write_manifest(log: Path, generation: int, shift_us: int, rows: int, replaced_at: str) -> None:
    """Write the log's _commits/history.json, which travels with the files it describes."""
    commits = log / COMMITS
    commits.mkdir(parents=True, exist_ok=True)
    content = {"generation": generation, "shift_us": shift_us, "rows": rows, "replaced_at": replaced_at}
    (commits / MANIFEST).write_text(json.dumps(content))


def carry_over(old: Path, new: Path, replaced_whole: tuple[str, ...]) -> int:
    """Link into `new` everything of the events folder `old` that is not history; returns how many Parquet files.

    Not carried over: files called history-*, Parquet files of rows without source_partition only, the logs named in
    `replaced_whole`. Files are hard links: nothing is copied, and the old folder stays as it is.
    """
    carried = 0
    for file in sorted(path for path in old.rglob("*") if path.is_file()) if old.exists() else []:
        place = file.relative_to(old)
        if place.parts[0] in replaced_whole or file.name == MANIFEST or file.name.startswith(HISTORY):
            continue
        if file.suffix == ".parquet":
            if not _went_through_kafka(file):
                continue
            carried += 1
        (new / place).parent.mkdir(parents=True, exist_ok=True)
        _link(file, new / place)
    return carried


def replace(events: Path, new: Path) -> None:
    """Put the folder `new` in the place of `events`, whole or not at all; the old content is deleted afterwards.

    Both are on one file system. A crash at any moment leaves the old or the new log (see `recover`).
    """
    if not events.exists():
        new.rename(events)
        return
    exchange(new, events)
    shutil.rmtree(new)


def recover(events: Path, leftovers: Path) -> None:
    """After a crash between two renames, where folders cannot be exchanged at once: the old log back to its place."""
    aside = events.with_name(f"{events.name}.replaced")
    if aside.exists() and not events.exists():
        aside.rename(events)
    shutil.rmtree(aside, ignore_errors=True)
    shutil.rmtree(leftovers, ignore_errors=True)


def _link(file: Path, place: Path) -> None:
    try:
        os.link(file, place)
    except OSError:  # a file system without hard links
        shutil.copy2(file, place)


def _went_through_kafka(file: Path) -> bool:
    """Whether any row of a Parquet file has a source partition."""
    schema = pq.read_schema(file)
    if "source_partition" not in schema.names:
        return False
    partitions = pq.read_table(file, columns=["source_partition"], partitioning=None)["source_partition"]
    return bool(pc.any(pc.is_valid(partitions)).as_py())
