"""How rows travel between Spark's tasks: Arrow batches beside the number of the task that opens them and what they hold.

So Spark moves few and large rows and converts no type. Where all tasks run on one machine (a local master) the batches stay
in files that are mapped into memory, and Spark moves their names alone. A parcel may also carry a word: an error, or a
request to read more.
"""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from plumbline.log_times import int64_values
from plumbline.scratch import roomy

PARCEL = pa.schema([("place", pa.int32()), ("holds", pa.int32()), ("batch", pa.int32()), ("content", pa.binary())])
PARCEL_SQL = "place int, holds int, batch int, content binary"
"""The schema, as Arrow and as Spark write it. content is an Arrow stream, or, where batch is not negative, the path of an
Arrow file that has the rows as that batch."""
EVENTS, ROWS, CLAIMS, FURTHER, MIXED, ERROR, PATH, ANSWERS = range(8)
"""What a parcel holds; the answers to the n-th group of views are ANSWERS + n."""
PARCEL_ROWS = 262_144
"""Rows of a parcel at most, so that those of a hot entity stay far from Arrow's 2 GB."""
WITHIN = -1


@dataclass(frozen=True)
class Carrier:
    """How parcels are carried: in files of scratch folders that every task sees, or, without any, in Spark's own rows."""

    folders: tuple[str, ...] = ()

    def parcels(self, table: pa.Table, places: np.ndarray, holds: int) -> Iterator[pa.RecordBatch]:
        """A table's rows by place, in their order within it."""
        if not len(places):
            return
        if (np.diff(places) < 0).any():
            order = np.argsort(
                places.astype(np.uint16) if places.max() < 2**16 else places, kind="stable"
            )  # 16 bits: radix sort
            table, places = table.take(pa.array(order)), places[order]
        table = table.combine_chunks()
        slices = list(_slices(places))
        parts = [table.slice(begin, end - begin) for _, begin, end in slices]
        if not self.folders:
            contents = [(WITHIN, _stream(part)) for part in parts]
        else:
            path = pa.py_buffer(self.keep(parts).encode())
            contents = [(number, path) for number in range(len(parts))]
        for (place, _, _), (batch, content) in zip(slices, contents, strict=True):
            yield _parcel(place, holds, batch, content)

    def keep(self, parts: Sequence[pa.Table]) -> str:
        """Write tables of one schema as the batches of a file; its path."""
        path = f"{roomy(self.folders, sum(part.nbytes for part in parts))}/{uuid.uuid4().hex}.arrow"
        with pa.OSFile(path, "wb") as sink, ipc.new_file(sink, parts[0].schema) as file:
            for part in parts:
                file.write_batch(part.combine_chunks().to_batches()[0])
        return path


def word(holds: int, text: str) -> pa.RecordBatch:
    """A parcel that holds text, for whoever opens place 0."""
    return _parcel(0, holds, WITHIN, pa.py_buffer(text.encode()))


def kept(path: str) -> ipc.RecordBatchFileReader:
    """A file that Carrier.keep wrote, mapped into memory."""
    return ipc.open_file(pa.memory_map(path))


class Received:
    """All parcels that came to one place."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._by_kind: dict[int, list[tuple[int, pa.Buffer]]] = {}
        for batch in batches:
            columns = (batch.column(name).to_pylist() for name in ("holds", "batch"))
            for holds, number, content in zip(*columns, batch.column("content"), strict=True):
                self._by_kind.setdefault(holds, []).append((number, content.as_buffer()))

    def table(self, holds: int, order_by: str | None = None) -> pa.Table | None:
        """The rows of one kind, in the order of a column of different integers if one is named; None where there are none."""
        if holds not in self._by_kind:
            return None
        table = pa.concat_tables([_opened(number, content) for number, content in self._by_kind[holds]])
        if order_by is None:
            return table
        numbers = int64_values(table[order_by])
        return table if (np.diff(numbers) > 0).all() else _taken(table, pa.array(_order(numbers)))

    def words(self, holds: int) -> list[str]:
        """The texts of one kind."""
        return [content.to_pybytes().decode() for _, content in self._by_kind.get(holds, [])]


def _slices(places: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Place, begin and end of runs of one place, of PARCEL_ROWS rows at most."""
    starts = np.concatenate(([0], np.flatnonzero(np.diff(places)) + 1))
    ends = [*starts[1:].tolist(), len(places)]
    for place, begin, end in zip(places[starts].tolist(), starts.tolist(), ends, strict=True):
        for first in range(begin, end, PARCEL_ROWS):
            yield place, first, min(first + PARCEL_ROWS, end)


def _order(numbers: np.ndarray) -> np.ndarray:
    """What np.argsort gives of different integers; quickly where none is left out between the smallest and the largest."""
    first = int(numbers.min())
    if int(numbers.max()) - first + 1 != len(numbers):
        return np.argsort(numbers)
    order = np.empty(len(numbers), np.int64)
    order[numbers - first] = np.arange(len(numbers))
    return order


def _taken(table: pa.Table, order: pa.Array) -> pa.Table:
    """Arrow takes one column after the other; here side by side."""
    with ThreadPoolExecutor() as beside:
        return pa.table(list(beside.map(lambda column: column.take(order), table.columns)), schema=table.schema)


def _opened(batch: int, content: pa.Buffer) -> pa.Table:
    if batch == WITHIN:
        return ipc.open_stream(content).read_all()
    return pa.Table.from_batches([kept(content.to_pybytes().decode()).get_batch(batch)])


def _parcel(place: int, holds: int, batch: int, content: pa.Buffer) -> pa.RecordBatch:
    ends = pa.py_buffer(np.array([0, content.size], np.int32))
    binary = pa.Array.from_buffers(pa.binary(), 1, [None, ends, content])
    numbers = [pa.array([number], pa.int32()) for number in (place, holds, batch)]
    return pa.record_batch([*numbers, binary], schema=PARCEL)


def _stream(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()
