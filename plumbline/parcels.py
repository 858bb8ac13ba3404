"""How rows travel between Spark's tasks: Arrow bytes beside the number of the task that opens them and what they hold.

So Spark moves few and large rows and converts no type. A parcel may also carry a word: an error, or a request to read more.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from plumbline.log_times import int64_values

PARCEL = pa.schema([("place", pa.int32()), ("holds", pa.int32()), ("arrow", pa.binary())])
PARCEL_SQL = "place int, holds int, arrow binary"
"""The schema, as Arrow and as Spark write it."""
EVENTS, ROWS, FURTHER, ERROR, PATH, ANSWERS = range(6)
"""What a parcel holds; the answers to the n-th group of views are ANSWERS + n."""
PARCEL_ROWS = 262_144
"""Rows of a parcel at most, so that those of a hot entity stay far from Arrow's 2 GB."""


def parcels(table: pa.Table, places: np.ndarray, holds: int) -> Iterator[pa.RecordBatch]:
    """A table's rows by place, in their order within it."""
    if not len(places):
        return
    if (np.diff(places) < 0).any():
        order = np.argsort(places, kind="stable")
        table, places = table.take(pa.array(order)), places[order]
    table = table.combine_chunks()
    starts = np.concatenate(([0], np.flatnonzero(np.diff(places)) + 1))
    ends = [*starts[1:].tolist(), len(places)]
    for number, begin, end in zip(places[starts].tolist(), starts.tolist(), ends, strict=True):
        for first in range(begin, end, PARCEL_ROWS):
            yield _parcel(number, holds, _sealed(table.slice(first, min(PARCEL_ROWS, end - first))))


def word(holds: int, text: str) -> pa.RecordBatch:
    """A parcel that holds text, for whoever opens place 0."""
    return _parcel(0, holds, pa.py_buffer(text.encode()))


class Received:
    """All parcels that came to one place."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._by_kind: dict[int, list[pa.Buffer]] = {}
        for batch in batches:
            for holds, arrow in zip(batch.column("holds").to_pylist(), batch.column("arrow"), strict=True):
                self._by_kind.setdefault(holds, []).append(arrow.as_buffer())

    def table(self, holds: int, order_by: str) -> pa.Table | None:
        """The rows of one kind in the order of a column of integers; None where there are none."""
        if holds not in self._by_kind:
            return None
        table = pa.concat_tables([ipc.open_stream(buffer).read_all() for buffer in self._by_kind[holds]])
        order = int64_values(table[order_by])
        return table if (np.diff(order) > 0).all() else table.take(pa.array(np.argsort(order)))

    def words(self, holds: int) -> list[str]:
        """The texts of one kind."""
        return [buffer.to_pybytes().decode() for buffer in self._by_kind.get(holds, [])]


def _parcel(place: int, holds: int, data: pa.Buffer) -> pa.RecordBatch:
    ends = pa.py_buffer(np.array([0, data.size], np.int32))
    arrow = pa.Array.from_buffers(pa.binary(), 1, [None, ends, data])
    return pa.record_batch([pa.array([place], pa.int32()), pa.array([holds], pa.int32()), arrow], schema=PARCEL)


def _sealed(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()
