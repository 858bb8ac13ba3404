"""A log's events by entity and slot, so that the states of many entities are computed in one call."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from plumbline.layout import Layout
from plumbline.rows import Rows, rows_from_table
from plumbline.value_codec import distinct_entities


@dataclass(frozen=True)
class Slots:
    """n slots, each of one entity and one partition (-1: the history), with their rows in order of offset.

    entities      (n,) number of the entity
    partitions    (n,)
    last_offsets  (n,) -1 for history
    rows          indices of the log's rows; those of slot i are rows[bounds[i]:bounds[i + 1]]
    """

    entities: np.ndarray
    partitions: np.ndarray
    last_offsets: np.ndarray
    rows: np.ndarray
    bounds: np.ndarray


@dataclass(frozen=True)
class GroupedLog:
    """Events of a view: entities by number, rows as the fold takes them in, slots in order of entity and partition."""

    entities: list[bytes]
    rows: Rows
    slots: Slots
    first_slot: np.ndarray
    """(entities + 1,) number of each entity's first slot."""

    def chunks(self, size: int) -> Iterator[range]:
        """Entities, so many at a time."""
        for start in range(0, len(self.entities), size):
            yield range(start, min(start + size, len(self.entities)))

    def rows_of(self, chunk: range) -> int:
        """How many rows the entities of a chunk have."""
        bounds = self.slots.bounds
        return int(bounds[self.first_slot[chunk.stop]] - bounds[self.first_slot[chunk.start]])

    def rows_of_entity(self, entity: int) -> Rows:
        """The rows of one entity, whatever their slot."""
        bounds = self.slots.bounds
        first, last = bounds[self.first_slot[entity]], bounds[self.first_slot[entity + 1]]
        return self.rows.take(self.slots.rows[first:last])

    def history_slots(self, chunk: range) -> Slots:
        """The slots of the chunk whose events never went through a topic."""
        return self._chosen(chunk, is_history=True)

    def streamed_slots(self, chunk: range) -> Slots:
        """The slots of the chunk that are prefixes of a partition."""
        return self._chosen(chunk, is_history=False)

    def _chosen(self, chunk: range, *, is_history: bool) -> Slots:
        slots = self.slots
        of_chunk = slice(self.first_slot[chunk.start], self.first_slot[chunk.stop])
        wanted = (slots.partitions[of_chunk] < 0) == is_history
        bounds = slots.bounds[of_chunk.start : of_chunk.stop + 1]
        sizes = np.diff(bounds)
        rows = slots.rows[bounds[0] : bounds[-1]][np.repeat(wanted, sizes)]
        return Slots(
            slots.entities[of_chunk][wanted],
            slots.partitions[of_chunk][wanted],
            slots.last_offsets[of_chunk][wanted],
            rows,
            np.concatenate([[0], np.cumsum(sizes[wanted])]),
        )


def group_by_entity(events: pa.Table, layout: Layout) -> GroupedLog:
    """Group a log's events (plumbline.event_log.read_events); rows with a null join key belong to nobody."""
    codes, entities = distinct_entities(events, layout.spec.join_keys)
    partitions, offsets = (
        np.asarray(events[name].fill_null(-1).to_numpy(), dtype=np.int64) for name in ("source_partition", "source_offset")
    )
    order = np.lexsort((offsets, partitions, codes)) if (partitions >= 0).any() else np.argsort(codes, kind="stable")
    order = order[np.searchsorted(codes[order], 0) :]
    code, partition = codes[order], partitions[order]
    begins = np.flatnonzero(np.concatenate([[True], (np.diff(code) != 0) | (np.diff(partition) != 0)])[: len(order)])
    bounds = np.append(begins, len(order))
    slots = Slots(code[begins], partition[begins], offsets[order[bounds[1:] - 1]], order, bounds)
    first_slot = np.searchsorted(slots.entities, np.arange(len(entities) + 1))
    return GroupedLog(entities, rows_from_table(events, layout, keep_ids=True), slots, first_slot)
