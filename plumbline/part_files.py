"""A training set as a folder of Parquet files, each written by whoever has its rows, so that no process holds them all."""

import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from plumbline.log_append import write_parquet
from plumbline.parcels import ERROR, FURTHER, MIXED, PATH, ROWS, Received, word
from plumbline.spark_tasks import ROW, Batches, Task, assembled, task

Finish = Callable[[pa.Table], pa.Table]
"""What is done to the rows of each file before it is written."""


def part_writer(staging: Path, rows_a_part: int, outputs: Sequence[Sequence[str]], finish: Finish) -> Task:
    """From the entity rows of a part and all answers to them: their file, and its name as a word."""

    @task
    def written(batches: Batches) -> Iterator[pa.RecordBatch]:
        received = Received(batches)
        troubles = [(kind, text) for kind in (FURTHER, MIXED, ERROR) for text in received.words(kind)]
        if troubles:
            yield word(*min(troubles))
            return
        rows = received.table(ROWS, ROW)
        if rows is None:
            return
        name = f"part-{rows[ROW][0].as_py() // rows_a_part:05}.parquet"
        write_parquet(finish(assembled(rows, received, outputs).drop_columns([ROW])), staging / name)
        yield word(PATH, name)

    return written


def staged(target: Path) -> Path:
    """A hidden folder beside the target, on the same file system."""
    staging = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    staging.mkdir(parents=True)
    return staging


def published(staging: Path, names: Iterable[str], target: Path) -> list[str]:
    """Put the named files in the target's place, whatever was there; their paths in the order of rows."""
    named = sorted(names)
    for stray in set(staging.iterdir()) - {staging / name for name in named}:
        stray.unlink()
    if target.is_dir():
        shutil.rmtree(target)
    elif target.exists():
        target.unlink()
    staging.replace(target)
    return [str(target / name) for name in named]
