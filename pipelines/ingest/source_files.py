"""Which files a load reads, in which order, and what each of them is."""

import glob
import os
from dataclasses import dataclass
from pathlib import Path

from pipelines.ingest.csv_rows import CsvFile
from pipelines.ingest.parquet_rows import ParquetFile
from pipelines.ingest.refusals import LoadRefused

GZIP_MAGIC = b"\x1f\x8b"
PARQUET_MAGIC = b"PAR1"


@dataclass(frozen=True)
class SourceFile:
    """One file of the source: `index` is its place in file order, `kind` csv, csv.gz or parquet."""

    index: int
    path: Path
    kind: str

    def open(self) -> CsvFile | ParquetFile:
        """The file's reader; raises LoadRefused when it is not what its kind says."""
        return ParquetFile(self.path) if self.kind == "parquet" else CsvFile(self.path, is_gzipped=self.kind == "csv.gz")


def source_files(source: str) -> list[SourceFile]:
    """The files of a path, a folder (all files in it, hidden and `_` ones left out) or a glob, sorted by path.

    Raises LoadRefused when there is none, or one cannot be read or is not what its name says.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        found = [file for file in path.rglob("*") if file.is_file() and not _is_hidden(file.relative_to(path))]
    elif path.exists():
        found = [path]
    else:
        found = [Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file()]
    if not found:
        raise LoadRefused(f"No file matches SOURCE={source}. Give a CSV, CSV.gz or Parquet file, a folder or a quoted glob.")
    return [
        SourceFile(index, file, _kind(file)) for index, file in enumerate(sorted(Path(os.path.abspath(file)) for file in found))
    ]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _kind(path: Path) -> str:
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise LoadRefused(f"{path} cannot be read: {error.strerror or error}.") from error
    actual = "csv.gz" if magic.startswith(GZIP_MAGIC) else "parquet" if magic == PARQUET_MAGIC else "csv"
    named = {".gz": "csv.gz", ".parquet": "parquet"}.get(path.suffix.lower())
    if named and named != actual:
        raise LoadRefused(f"{path} is named like {named} but does not begin like one: it is truncated or something else.")
    return actual
