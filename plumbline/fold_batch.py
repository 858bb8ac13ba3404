"""A batch of events for one view, grouped by entity and partition: a group is what one slot of one entity is given."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from plumbline.fold_scripts import NewStates
from plumbline.keyspace import Keyspace
from plumbline.layout import Layout
from plumbline.rows import EventColumns, Rows
from plumbline.state import folded_states
from plumbline.state_seals import UNREADABLE, joined, stamps_of
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


def folded(batch: Batch, groups: np.ndarray, stored: Sequence[bytes | None], positions: np.ndarray) -> tuple[NewStates, int]:
    """States brought up to their groups' rows; rows that a state has seen are left out, and groups with no others.

    groups     which groups of the batch, ascending
    stored     the bytes of each one's state, None where there is none
    positions  (groups,) offset up to which the shard of each was given everything, -1 for nothing

    A damaged state stays as it is: whoever reads it is told, and materialize, which finds it, has what it missed folded
    again. The second thing returned is how many there are.
    """
    states, fences = joined(stored)
    damaged = int((fences == UNREADABLE).sum())
    rows, counts = _unseen(batch, groups, np.maximum(fences, positions))
    if not counts.all():
        with_rows = np.flatnonzero(counts)
        groups, counts = groups[with_rows], counts[with_rows]
        states, _ = joined([stored[i] for i in with_rows.tolist()])
    bounds = np.append(0, np.cumsum(counts))
    new = folded_states(batch.layout, states, batch.rows.take(rows), bounds, batch.last_offsets[groups])
    keys = [batch.keys[g] for g in groups.tolist()]
    return NewStates(keys, batch.partitions[groups], batch.shards[groups], stamps_of(states), new), damaged


def _unseen(batch: Batch, groups: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of some groups with a larger offset than the group has seen, and how many these are of each group."""
    sizes = (batch.bounds[1:] - batch.bounds[:-1])[groups]
    place = np.repeat(np.arange(len(groups)), sizes)
    within = np.arange(len(place)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows = batch.bounds[groups][place] + within
    unseen = batch.offsets[rows] > seen[place]
    return rows[unseen], np.bincount(place[unseen], minlength=len(groups))
