"""What a long job says while it runs."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.ingest.source_files import SourceFile

EVERY_S = 3.0
Say = Callable[[str], None]


@contextmanager
def step(say: Say, name: str) -> Iterator[None]:
    """Say how long the body took, once it is done."""
    started = time.monotonic()
    yield
    say(f"  {name} ({time.monotonic() - started:.1f} s)")


@contextmanager
def reading(say: Say, files: list[SourceFile], notes: Path) -> Iterator[None]:
    """While the body runs, say every three seconds how far the tasks are (they keep `notes`, see ParseFiles)."""
    notes.mkdir(parents=True, exist_ok=True)
    done = threading.Event()
    total_bytes = sum(file.path.stat().st_size for file in files) or 1

    def watch() -> None:
        while not done.wait(EVERY_S):
            rows, read_bytes = _read_so_far(notes)
            if rows:
                say(f"  reading: {rows} rows, {min(read_bytes / total_bytes, 1):.0%} of {total_bytes / 1e6:.1f} MB")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _read_so_far(notes: Path) -> tuple[int, int]:
    pairs = [text.split() for note in notes.iterdir() if (text := note.read_text())]
    return sum(int(rows) for rows, _ in pairs), sum(int(size) for _, size in pairs)
