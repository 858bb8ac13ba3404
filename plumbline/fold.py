"""The fold: events of a topic's partitions into the states of every view over the source, each once in effect.

Per shard, one script compares the positions and the stamps of the states and then writes the states and moves the
positions in one step. So a batch is applied to a shard wholly or not at all, a crash between two shards is a replay that the
positions cut short, and a writer with an old batch (or an emptied store) is refused before it changes anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice, product

import numpy as np
import pyarrow as pa

from plumbline import deliveries
from plumbline.deliveries import Claims
from plumbline.event_table import normalised
from plumbline.fold_batch import Batch, folded, grouped
from plumbline.keyspace import Keyspace
from plumbline.layout import Layout
from plumbline.store_client import PositionMove, StateWrite, StoreClient
from plumbline.view_spec import LogSource

ATTEMPTS = 20
"""How often a shard's states are read again because materialize replaced one in between."""


class PositionsLost(RuntimeError):
    """The store's positions are not those last written: it was emptied, or another writer moved them. Resume from them."""


@dataclass
class FoldCounts:
    """What became of a batch's events. `too_late_rows` and `refused_rows` name them as (partition, offset).

    unreadable  damaged states that were left as they are, for `feast materialize` to repair
    """

    applied: int = 0
    duplicates: int = 0
    too_late: int = 0
    refused: int = 0
    replayed: int = 0
    unreadable: int = 0
    too_late_rows: list[tuple[int, int]] = field(default_factory=list)
    refused_rows: list[tuple[int, int]] = field(default_factory=list)


class Fold:
    """Folds one source's partitions; one Fold at a time writes a partition (two that try are told by PositionsLost)."""

    def __init__(self, client: StoreClient, keyspace: Keyspace, source: LogSource, layouts: Sequence[Layout]) -> None:
        self.source = source
        self.layouts = tuple(layouts)
        self._client, self._keyspace = client, keyspace
        self._claims = Claims(client, keyspace, source.name)
        self._positions: dict[tuple[int, str, int], int | None] = {}

    def reach_store(self) -> None:
        """Return when the store answers; raises StoreUnavailable."""
        self._client.pipeline([("HLEN", self._keyspace.positions(self.layouts[0].spec, 0))])

    def resume(self, partitions: Sequence[int]) -> dict[int, int | None]:
        """Next offset to read of each partition: one after the smallest position of its views and shards.

        None where a view or shard has no position: nothing is known to be applied, so read from the topic's beginning, and
        when the topic no longer starts at offset 0, wait for materialize.
        """
        for shard in range(self._keyspace.shards):
            for partition in partitions:
                for layout in self.layouts:
                    self._positions.pop((shard, layout.spec.name, partition), None)
        self._load_positions(partitions)
        return {partition: self._smallest(partition) for partition in partitions}

    def apply(self, events: pa.Table, end_offsets: dict[int, int]) -> FoldCounts:
        """Apply a batch: events of some partitions, each in the order of its offsets.

        events       the log's columns with source_partition, source_offset and the append time as created timestamp; records
                     that were refused at the door are absent
        end_offsets  partition -> last offset seen in the batch, refused records included; positions move there

        Raises PositionsLost (call resume and read again from there) and StoreUnavailable (call again with the same batch:
        what was already written is skipped).
        """
        specs = [layout.spec for layout in self.layouts]
        return self.apply_normalised(normalised(events, self.source, specs, datetime.now(UTC)), end_offsets)

    def apply_normalised(self, table: pa.Table, end_offsets: dict[int, int]) -> FoldCounts:
        """apply, of events that plumbline.event_table.normalised made."""
        self._load_positions([p for p in end_offsets if not self._is_loaded(p)])
        counts, accepted = self._decide(table)
        counted = table.filter(pa.array(accepted))
        counts.unreadable = self._commit(grouped(self.layouts, self._keyspace, counted), end_offsets)
        return counts

    def _decide(self, table: pa.Table) -> tuple[FoldCounts, np.ndarray]:
        counts = FoldCounts()
        partitions = table["source_partition"].to_numpy()
        offsets = table["source_offset"].to_numpy()
        at, created = (table[name].cast(pa.int64()).to_numpy() for name in ("event_timestamp", "created_timestamp"))
        ids = [b"" if i is None else i.encode() for i in table["event_id"].to_pylist()]
        accepted = np.zeros(table.num_rows, dtype=bool)
        for partition in sorted(set(partitions.tolist())):
            of_partition = np.flatnonzero(partitions == partition)
            verdict = self._claims.decide(
                partition, offsets[of_partition], [ids[i] for i in of_partition.tolist()],
                at[of_partition], created[of_partition], self.source.allowed_lateness_us,
            )  # fmt: skip
            accepted[of_partition] = verdict == deliveries.ACCEPTED
            self._count(counts, partition, offsets[of_partition], verdict)
        return counts, accepted

    def _count(self, counts: FoldCounts, partition: int, offsets: np.ndarray, verdict: np.ndarray) -> None:
        smallest = self._smallest(partition)
        is_new = offsets >= (0 if smallest is None else smallest)
        counts.replayed += int((~is_new).sum())
        counts.applied += int((is_new & (verdict == deliveries.ACCEPTED)).sum())
        counts.duplicates += int((is_new & (verdict == deliveries.DUPLICATE)).sum())
        for kind, rows in ((deliveries.TOO_LATE, counts.too_late_rows), (deliveries.REFUSED, counts.refused_rows)):
            rows += [(partition, offset) for offset in offsets[is_new & (verdict == kind)].tolist()]
        counts.too_late, counts.refused = len(counts.too_late_rows), len(counts.refused_rows)

    def _commit(self, batches: Sequence[Batch], end_offsets: dict[int, int]) -> int:
        """Write every shard; a shard whose states were replaced meanwhile is read and folded again. How many are unreadable."""
        pending = [shard for shard in range(self._keyspace.shards) if self._moves(shard, end_offsets)]
        unreadable = 0
        for attempt in range(ATTEMPTS):
            writes, damaged = self._folded(pending, batches)
            unreadable = unreadable if attempt else damaged
            moves = {shard: self._moves(shard, end_offsets) for shard in pending}
            outcomes = self._client.commit([(moves[shard], writes[shard]) for shard in pending])
            for shard, outcome in zip(pending, outcomes, strict=True):
                if outcome == "ok":
                    self._moved(shard, end_offsets)
            if "position" in outcomes:
                self._positions.clear()
                raise PositionsLost(
                    f"The store's positions of '{self.source.name}' are not the ones last written; resume from the store's."
                )
            pending = [shard for shard, outcome in zip(pending, outcomes, strict=True) if outcome == "state"]
            if not pending:
                return unreadable
        raise PositionsLost(f"States of '{self.source.name}' kept changing under the fold; is a second fold running?")

    def _folded(self, shards: Sequence[int], batches: Sequence[Batch]) -> tuple[dict[int, list[StateWrite]], int]:
        """Read the states that the shards' groups belong to, of all views at once, and fold the rows each has not seen.

        The writes of each shard, and how many states were unreadable.
        """
        chosen = [self._not_given(batch, shards) for batch in batches]
        keys = [batch.keys[g] for batch, (groups, _) in zip(batches, chosen, strict=True) for g in groups.tolist()]
        slots = [str(p) for batch, (groups, _) in zip(batches, chosen, strict=True) for p in batch.partitions[groups].tolist()]
        places = [s for batch, (groups, _) in zip(batches, chosen, strict=True) for s in batch.shards[groups].tolist()]
        stored = iter(self._client.fields(keys, slots, places))
        writes: dict[int, list[StateWrite]] = {shard: [] for shard in shards}
        unreadable = 0
        for batch, (groups, positions) in zip(batches, chosen, strict=True):
            of_view, damaged = folded(batch, groups, list(islice(stored, len(groups))), positions)
            unreadable += damaged
            for shard, write in of_view:
                writes[shard].append(write)
        return writes, unreadable

    def _not_given(self, batch: Batch, shards: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """The groups of some shards that hold rows the shard was not given, and the position of each one's shard."""
        of_view = np.full((self._keyspace.shards, int(batch.partitions.max(initial=0)) + 1), -1, np.int64)
        for shard, partition in product(range(self._keyspace.shards), np.unique(batch.partitions).tolist()):
            position = self._positions[shard, batch.layout.spec.name, partition]
            of_view[shard, partition] = -1 if position is None else position
        positions = of_view[batch.shards, batch.partitions]
        groups = np.flatnonzero(np.isin(batch.shards, shards) & (batch.last_offsets > positions))
        return groups, positions[groups]

    def _moves(self, shard: int, end_offsets: dict[int, int]) -> list[PositionMove]:
        moves = []
        for layout in self.layouts:
            for partition, end in end_offsets.items():
                position = self._positions[shard, layout.spec.name, partition]
                if position is None or position < end:
                    key = self._keyspace.positions(layout.spec, shard)
                    moves.append(PositionMove(key, str(partition), "" if position is None else str(position), str(end)))
        return moves

    def _moved(self, shard: int, end_offsets: dict[int, int]) -> None:
        for layout in self.layouts:
            for partition, end in end_offsets.items():
                position = self._positions[shard, layout.spec.name, partition]
                self._positions[shard, layout.spec.name, partition] = max(end, -1 if position is None else position)

    def _is_loaded(self, partition: int) -> bool:
        return all(
            (shard, layout.spec.name, partition) in self._positions
            for shard in range(self._keyspace.shards)
            for layout in self.layouts
        )

    def _load_positions(self, partitions: Sequence[int]) -> None:
        if not partitions:
            return
        places = [(shard, layout) for shard in range(self._keyspace.shards) for layout in self.layouts]
        answers = self._client.pipeline(
            ("HMGET", self._keyspace.positions(layout.spec, shard), *map(str, partitions)) for shard, layout in places
        )
        for (shard, layout), found in zip(places, answers, strict=True):
            for partition, value in zip(partitions, found, strict=True):
                self._positions[shard, layout.spec.name, partition] = None if value is None else int(value)

    def _smallest(self, partition: int) -> int | None:
        positions = [
            self._positions[shard, layout.spec.name, partition]
            for shard in range(self._keyspace.shards)
            for layout in self.layouts
        ]
        known = [position for position in positions if position is not None]
        return min(known) + 1 if known and len(known) == len(positions) else None
