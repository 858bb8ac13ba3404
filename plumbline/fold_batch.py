"""A batch of events for one view, grouped by entity and partition: a group is what one slot of one entity is given."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from plumbline.fold_scripts import NewStates, together
from plumbline.keyspace import Keyspace
from plumbline.layout import Layout
from plumbline.rows import EventColumns, Rows
from plumbline.state import folded_states
from plumbline.state_parts import States
from plumbline.state_pieces import FOR_EVER, Slot, settle
from plumbline.state_seals import UNREADABLE, in_a_row, joined, stamps_of
from plumbline.state_words import NEVER
from plumbline.value_codec import Entities


@dataclass(frozen=True)
class Batch:
    """The rows of one view, group after group, each group's in the order of its offsets.

    rows, offsets                rows[bounds[g]:bounds[g + 1]] are group g's; int64 (n,)
    bounds                       int64 (groups + 1,)
    shards, partitions           int64 (groups,): where a group's state lies, and which slot it is
    keys                         of each group's state
    """

    layout: Layout
    rows: Rows
    offsets: np.ndarray
    bounds: np.ndarray
    shards: np.ndarray
    partitions: np.ndarray
    keys: list[bytes]

    @property
    def last_offsets(self) -> np.ndarray:
        """The offset of each group's last row."""
        return self.offsets[self.bounds[1:] - 1]


@dataclass(frozen=True)
class Groups:
    """The rows of a batch by entity (of the views that share join keys) and partition.

    order                        int64 (n,): rows of the batch, group after group; one with a null in the keys is in none
    bounds, shards, partitions   as in a Batch
    entities                     each group's, as the keys of states end
    """

    order: np.ndarray
    bounds: np.ndarray
    shards: np.ndarray
    partitions: np.ndarray
    entities: list[bytes]


def grouped(layouts: Sequence[Layout], keyspace: Keyspace, table: pa.Table) -> list[Batch]:
    """Events (in the order of each partition's offsets) as each view's groups."""
    entities, partitions = Entities(table), table["source_partition"].to_numpy()
    by_keys = {
        join_keys: _groups(entities.distinct(join_keys), keyspace, partitions)
        for join_keys in {_keys_of(layout) for layout in layouts}
    }
    offsets = table["source_offset"].to_numpy()
    columns = EventColumns(table)
    return [_batch(layout, keyspace, columns, offsets, by_keys[_keys_of(layout)]) for layout in layouts]


def _keys_of(layout: Layout) -> tuple[str, ...]:
    return tuple(sorted(layout.spec.join_keys))


def _groups(distinct: tuple[np.ndarray, list[bytes]], keyspace: Keyspace, partitions: np.ndarray) -> Groups:
    numbers, entities = distinct
    group = numbers * (partitions.max(initial=0) + 1) + partitions
    known = np.flatnonzero(numbers >= 0)
    order = known[np.argsort(group[known], kind="stable")]
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    first = order[starts]
    shards = np.array([keyspace.shard(entity) for entity in entities], np.int64)[numbers[first]]
    of_groups = [entities[number] for number in numbers[first].tolist()]
    return Groups(order, np.append(starts, len(order)), shards, partitions[first], of_groups)


def _batch(layout: Layout, keyspace: Keyspace, columns: EventColumns, offsets: np.ndarray, groups: Groups) -> Batch:
    prefixes = {shard: keyspace.state_prefix(layout.spec, shard) for shard in set(groups.shards.tolist())}
    keys = [prefixes[shard] + entity for shard, entity in zip(groups.shards.tolist(), groups.entities, strict=True)]
    rows = columns.rows(layout, layout.ordered).take(groups.order)
    return Batch(layout, rows, offsets[groups.order], groups.bounds, groups.shards, groups.partitions, keys)


def folded(batch: Batch, groups: np.ndarray, stored: Sequence[Slot], positions: np.ndarray) -> tuple[NewStates, int]:
    """States brought up to their groups' rows; rows that a slot has seen are left out, and groups with no others.

    groups     which groups of the batch, ascending
    stored     what the store holds of each one's slot
    positions  (groups,) offset up to which the shard of each was given everything, -1 for nothing

    A damaged state stays as it is: whoever reads it is told, and materialize, which finds it, has what it missed folded
    again. The second thing returned is how many there are.
    """
    newest, fences = joined([slot.newest for slot in stored])
    damaged = int((fences == UNREADABLE).sum())
    rows, counts = _unseen(batch, groups, np.maximum(fences, positions))
    stamps, with_rows = stamps_of(newest), np.flatnonzero(counts)
    touched = _Touched(
        batch, groups[with_rows], [stored[i] for i in with_rows.tolist()], stamps[with_rows], rows, counts[with_rows]
    )
    large = np.fromiter((slot.is_large for slot in touched.slots), bool, len(touched.slots))
    if not large.any():
        everything = np.arange(len(large))
        return touched.written_whole(everything, newest if len(large) == len(stored) else None), damaged
    settling, unreadable = touched.settling()
    parts = [
        touched.written_whole(np.flatnonzero(~large)),
        touched.settled(settling),
        touched.written_beside(np.flatnonzero(large), set(settling.tolist())),
    ]
    return together(parts), damaged + unreadable


@dataclass(frozen=True)
class _Touched:
    """The groups of a batch that have rows for their slots; `rows` are theirs, group after group, `counts` of each."""

    batch: Batch
    groups: np.ndarray
    slots: Sequence[Slot]
    stamps: np.ndarray
    rows: np.ndarray
    counts: np.ndarray

    def written_whole(self, chosen: np.ndarray, states: States | None = None) -> NewStates:
        """The settled states of some groups with their rows; `states` are they, where they lie in a row already."""
        states = states or in_a_row([self.slots[i].settled for i in chosen.tolist()])
        return self._new(chosen, self._folded(chosen, states), is_recent=False)

    def written_beside(self, chosen: np.ndarray, settling: Collection[int]) -> NewStates:
        """The recent states of some groups with their rows; of those that settle, with nothing else."""
        states = in_a_row([None if i in settling else self.slots[i].recent for i in chosen.tolist()])
        return self._new(chosen, self._folded(chosen, states, reach_us=FOR_EVER), is_recent=True)

    def settling(self) -> tuple[np.ndarray, int]:
        """The groups whose recent state has grown large enough to be folded into the settled one, which was fetched for that.

        And of how many that one is unreadable: these go on as they are.
        """
        fetched = [i for i, slot in enumerate(self.slots) if slot.recent is not None and slot.settled is not None]
        _, fences = joined([self.slots[i].settled for i in fetched])
        readable = fences != UNREADABLE
        return np.array(fetched, np.int64)[readable], int((~readable).sum())

    def settled(self, chosen: np.ndarray) -> NewStates:
        """The settled states of some groups with the rows of their recent ones, and none of the batch."""
        data = settle(self.batch.layout, [self.slots[i] for i in chosen.tolist()]) if len(chosen) else []
        return self._new(chosen, data, is_recent=False)

    def _folded(self, chosen: np.ndarray, states: States, reach_us: int = NEVER) -> list[bytes]:
        """States of some groups (ascending) with the groups' rows."""
        is_chosen = np.zeros(len(self.groups), bool)
        is_chosen[chosen] = True
        rows = self.batch.rows.take(self.rows[np.repeat(is_chosen, self.counts)])
        bounds = np.append(0, np.cumsum(self.counts[chosen]))
        fences = self.batch.last_offsets[self.groups[chosen]]
        return folded_states(self.batch.layout, states, rows, bounds, fences, reach_us=reach_us)

    def _new(self, chosen: np.ndarray, data: list[bytes], *, is_recent: bool) -> NewStates:
        groups = self.groups[chosen]
        keys = [self.batch.keys[g] for g in groups.tolist()]
        recent = np.full(len(chosen), is_recent)
        return NewStates(keys, self.batch.partitions[groups], self.batch.shards[groups], self.stamps[chosen], data, recent)


def _unseen(batch: Batch, groups: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of some groups with a larger offset than the group has seen, and how many these are of each group."""
    sizes = (batch.bounds[1:] - batch.bounds[:-1])[groups]
    place = np.repeat(np.arange(len(groups)), sizes)
    within = np.arange(len(place)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows = batch.bounds[groups][place] + within
    unseen = batch.offsets[rows] > seen[place]
    return rows[unseen], np.bincount(place[unseen], minlength=len(groups))
