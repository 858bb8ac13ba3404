"""The fold: events of a topic's partitions into the states of every view over the source, each once in effect.

Per shard, one script compares the positions and the stamps of the states and then writes the states and moves the
positions in one step. So a batch is applied to a shard wholly or not at all, a crash between two shards is a replay that the
positions cut short, and a writer with an old batch (or an emptied store) is refused before it changes anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice

import numpy as np
import pyarrow as pa

from plumbline import acceptance, fold_scripts
from plumbline.deliveries import Claims
from plumbline.event_table import normalised
from plumbline.fold_batch import Batch, folded, grouped
from plumbline.fold_scripts import NO_POSITION, NOT_MOVED, NewStates, PositionMoves, Revision, together
from plumbline.keyspace import Keyspace
from plumbline.layout import Layout
from plumbline.store_client import StoreClient
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


@dataclass(frozen=True)
class Prepared:
    """A batch of which is decided what counts, grouped for each view.

    partitions, offsets, verdict  of every event, int64 (n,) and int8 (n,): acceptance.ACCEPTED, DUPLICATE, TOO_LATE, REFUSED
    batches                       the accepted events, as each view's groups
    end_offsets                   as in Fold.apply
    """

    partitions: np.ndarray
    offsets: np.ndarray
    verdict: np.ndarray
    batches: Sequence[Batch]
    end_offsets: dict[int, int]


class Fold:
    """Folds one source's partitions; one Fold at a time writes a partition (two that try are told by PositionsLost)."""

    def __init__(self, client: StoreClient, keyspace: Keyspace, source: LogSource, layouts: Sequence[Layout]) -> None:
        self.source = source
        self.layouts = tuple(layouts)
        self._client, self._keyspace = client, keyspace
        self._claims = Claims(client, keyspace, source.name)
        self._position_keys = [
            [keyspace.positions(layout.spec, shard) for layout in self.layouts] for shard in range(keyspace.shards)
        ]
        self._positions: dict[int, np.ndarray] = {}
        self._revisions = [Revision(keyspace.revision(shard)) for shard in range(keyspace.shards)]

    def reach_store(self) -> None:
        """Return when the store answers; raises StoreUnavailable."""
        self._client.pipeline([("HLEN", self._position_keys[0][0])])

    def resume(self, partitions: Sequence[int]) -> dict[int, int | None]:
        """Next offset to read of each partition: one after the smallest position of its views and shards.

        None where a view or shard has no position: nothing is known to be applied, so read from the topic's beginning, and
        when the topic no longer starts at offset 0, wait for materialize.
        """
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
        return self.write(self.prepare(events, end_offsets))

    def prepare(self, events: pa.Table, end_offsets: dict[int, int]) -> Prepared:
        """The half of apply that needs neither states nor positions; another batch may be written meanwhile.

        Raises StoreUnavailable (call again with the same batch).
        """
        specs = [layout.spec for layout in self.layouts]
        return self.prepare_normalised(normalised(events, self.source, specs, datetime.now(UTC)), end_offsets)

    def prepare_normalised(self, table: pa.Table, end_offsets: dict[int, int]) -> Prepared:
        """prepare, of events that plumbline.event_table.normalised made."""
        partitions = table["source_partition"].to_numpy()
        offsets = table["source_offset"].to_numpy()
        at, created = (table[name].cast(pa.int64()).to_numpy() for name in ("event_timestamp", "created_timestamp"))
        ids = [event_id or b"" for event_id in table["event_id"].cast(pa.binary()).to_pylist()]
        verdict = self._claims.decide(partitions, offsets, ids, at, created, self.source.allowed_lateness_us)
        counted = table.filter(pa.array(verdict == acceptance.ACCEPTED))
        return Prepared(partitions, offsets, verdict, grouped(self.layouts, self._keyspace, counted), end_offsets)

    def write(self, prepared: Prepared) -> FoldCounts:
        """The other half of apply: fold a batch into the states. Batches of a partition in the order of its offsets, one at a
        time. Raises as apply does.
        """
        if not prepared.end_offsets:
            return FoldCounts()
        self._load_positions([p for p in prepared.end_offsets if p not in self._positions])
        counts = self._counts(prepared)
        counts.unreadable = self._commit(prepared.batches, prepared.end_offsets)
        return counts

    def _counts(self, prepared: Prepared) -> FoldCounts:
        counts = FoldCounts()
        for partition in np.unique(prepared.partitions).tolist():
            of_partition = prepared.partitions == partition
            self._count(counts, partition, prepared.offsets[of_partition], prepared.verdict[of_partition])
        return counts

    def _count(self, counts: FoldCounts, partition: int, offsets: np.ndarray, verdict: np.ndarray) -> None:
        smallest = self._smallest(partition)
        is_new = offsets >= (0 if smallest is None else smallest)
        counts.replayed += int((~is_new).sum())
        counts.applied += int((is_new & (verdict == acceptance.ACCEPTED)).sum())
        counts.duplicates += int((is_new & (verdict == acceptance.DUPLICATE)).sum())
        for kind, rows in ((acceptance.TOO_LATE, counts.too_late_rows), (acceptance.REFUSED, counts.refused_rows)):
            rows += [(partition, offset) for offset in offsets[is_new & (verdict == kind)].tolist()]
        counts.too_late, counts.refused = len(counts.too_late_rows), len(counts.refused_rows)

    def _commit(self, batches: Sequence[Batch], end_offsets: dict[int, int]) -> int:
        """Write every shard; a shard whose states were replaced meanwhile is read and folded again. How many are unreadable."""
        moves = self._moves(end_offsets)
        pending = np.flatnonzero((moves.expected != NOT_MOVED).any(axis=(1, 2))).tolist()
        unreadable = 0
        for attempt in range(ATTEMPTS):
            states, damaged = self._folded(pending, batches)
            unreadable = unreadable if attempt else damaged
            written = fold_scripts.write(self._client, pending, moves, states, self._revisions)
            for shard, (outcome, revision) in zip(pending, written, strict=True):
                self._revisions[shard] = revision
                if outcome == "ok":
                    self._moved(shard, end_offsets)
            if any(outcome == "position" for outcome, _ in written):
                self._positions.clear()
                raise PositionsLost(
                    f"The store's positions of '{self.source.name}' are not the ones last written; resume from the store's."
                )
            pending = [shard for shard, (outcome, _) in zip(pending, written, strict=True) if outcome == "state"]
            if not pending:
                return unreadable
        raise PositionsLost(f"States of '{self.source.name}' kept changing under the fold; is a second fold running?")

    def _moves(self, end_offsets: dict[int, int]) -> PositionMoves:
        """Every position of the batch's partitions that is before its end moves there."""
        ends = np.array(list(end_offsets.values()), np.int64)
        positions = np.stack([self._positions[partition] for partition in end_offsets], axis=2)
        expected = np.where(positions < ends, positions, NOT_MOVED)
        return PositionMoves(self._position_keys, np.array(list(end_offsets), np.int64), ends, expected)

    def _moved(self, shard: int, end_offsets: dict[int, int]) -> None:
        for partition, end in end_offsets.items():
            of_shard = self._positions[partition][shard]
            np.maximum(of_shard, end, out=of_shard)

    def _folded(self, shards: Sequence[int], batches: Sequence[Batch]) -> tuple[NewStates, int]:
        """Read the states that the shards' groups belong to, of all views at once, and fold the rows each has not seen.

        The new states, and how many were unreadable.
        """
        chosen = [self._not_given(view, batch, shards) for view, batch in enumerate(batches)]
        keys = [batch.keys[g] for batch, (groups, _) in zip(batches, chosen, strict=True) for g in groups.tolist()]
        slots, places = (
            np.concatenate([of_groups[groups] for of_groups, (groups, _) in zip(of_views, chosen, strict=True)])
            for of_views in ([batch.partitions for batch in batches], [batch.shards for batch in batches])
        )
        stored = iter(fold_scripts.read(self._client, keys, slots, places))
        folds = [
            folded(batch, groups, list(islice(stored, len(groups))), positions)
            for batch, (groups, positions) in zip(batches, chosen, strict=True)
        ]
        return together([states for states, _ in folds]), sum(damaged for _, damaged in folds)

    def _not_given(self, view: int, batch: Batch, shards: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """The groups of some shards that hold rows the shard was not given, and the position of each one's shard."""
        positions = np.full(len(batch.shards), NO_POSITION, np.int64)
        for partition in np.unique(batch.partitions).tolist():
            of_partition = batch.partitions == partition
            positions[of_partition] = self._positions[partition][batch.shards[of_partition], view]
        groups = np.flatnonzero(np.isin(batch.shards, shards) & (batch.last_offsets > positions))
        return groups, positions[groups]

    def _load_positions(self, partitions: Sequence[int]) -> None:
        if not partitions:
            return
        answers = self._client.pipeline(
            ("HMGET", key, *map(str, partitions)) for of_shard in self._position_keys for key in of_shard
        )
        found = np.array([[NO_POSITION if value is None else int(value) for value in answer] for answer in answers], np.int64)
        by_shard = found.reshape(self._keyspace.shards, len(self.layouts), len(partitions))
        self._positions |= {partition: by_shard[:, :, n].copy() for n, partition in enumerate(partitions)}

    def _smallest(self, partition: int) -> int | None:
        smallest = int(self._positions[partition].min())
        return None if smallest == NO_POSITION else smallest + 1
