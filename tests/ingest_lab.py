"""What the loader's tests share: files written in one line, and rows parsed by the task body that Spark runs."""

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.ingest.choice import check_headers
from pipelines.ingest.instants import iso_text
from pipelines.ingest.mapping import read_mapping
from pipelines.ingest.parse import ParseFiles
from pipelines.ingest.source_files import source_files

NOW_US = 1_790_000_000_000_000  # 2026-09-21T13:33:20Z
PLAIN = "event_timestamp: when\nuser_id: who\namount_cents: {column: paid, scale: 100}\n"


@dataclass(frozen=True)
class Parsed:
    """Rows as staged: `kept` are dicts of values, `refused` are (row, reason, original)."""

    kept: list[dict[str, Any]]
    refused: list[tuple[int, str, str]]
    fatal: list[str]

    @property
    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.refused]


def written(path: Path, content: str | bytes) -> Path:
    """`path` with that content; gzipped where it is called .gz."""
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def parsed(folder: Path, content: str | bytes | Path, mapping: str = PLAIN) -> Parsed:
    """Parse one source (text of a CSV file, or a file that is there) by a mapping given as text."""
    source = content if isinstance(content, Path) else written(folder / "source.csv", content)
    rules = read_mapping(written(folder / "mapping.yaml", mapping))
    files = source_files(str(source))
    task = ParseFiles(files, rules, check_headers(files, rules), NOW_US, folder)
    batches = list(task(iter([pa.record_batch({"id": pa.array(range(len(files)))})])))
    rows = [row for batch in batches for row in batch.to_pylist()]
    good = [row for row in rows if row["fatal"] is None and row["reason"] is None]
    return Parsed(
        kept=good,
        refused=[(row["row"], row["reason"], row["original"]) for row in rows if row["reason"] is not None],
        fatal=[row["fatal"] for row in rows if row["fatal"] is not None],
    )


def instant(us: int) -> str:
    return iso_text(us)
