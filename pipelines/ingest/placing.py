"""The last step of a load: what was built in the scratch space takes the place of what was there."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq

from feature_repo.settings import Settings
from pipelines.ingest import replacement
from pipelines.ingest.history import Loaded
from pipelines.ingest.instants import iso_text


def put_in_place(settings: Settings, loaded: Loaded, docs: Path, now_us: int) -> int:
    """The last step: the new history becomes the log; returns its generation. Quarantine, scenario and docs follow."""
    events = settings.events_dir.resolve()
    generation = replacement.history_generation(events) + 1
    for log in sorted(folder for folder in loaded.events.iterdir() if folder.is_dir()):
        rows = sum(pq.read_metadata(file).num_rows for file in log.rglob("*.parquet"))
        replacement.write_manifest(log, generation, loaded.shift_us, rows, iso_text(now_us))
    replacement.carry_over(events, loaded.events, replaced_whole=("user_profile", "user_attributes", "market"))
    replacement.replace(events, loaded.events)
    for new, place in (
        (loaded.quarantine, settings.quarantine_path),
        (loaded.scenario, settings.data_dir / "scenario"),
        (docs, settings.data_dir / "data_docs"),
    ):
        if new.exists():
            replacement.replace(place, new)
    return generation


@contextmanager
def scratch_space(settings: Settings) -> Iterator[Path]:
    """An empty folder on the log's own file system, gone afterwards; what a crashed load left is put right first."""
    events = settings.events_dir.resolve()
    scratch = events.parent / ".loading"
    events.parent.mkdir(parents=True, exist_ok=True)
    replacement.recover(events, scratch)
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
