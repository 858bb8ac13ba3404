"""States computed from the log, installed in the online store where they are ahead of, or differ from, what is there."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plumbline.deliveries import Claim, Claims
from plumbline.durations import DAY
from plumbline.fold_times import HEAD_US
from plumbline.grouped_log import GroupedLog, group_by_entity
from plumbline.keyspace import HISTORY, PUSH, REACH, Keyspace
from plumbline.layout import Layout
from plumbline.log_times import int64_values
from plumbline.pushing import without_logged
from plumbline.state import fold
from plumbline.state_pieces import RECENT, StoredSlot, stored_slots
from plumbline.state_words import FENCE, GENERATION, NEVER, STAMP_BYTES, StateUnreadable, check, header_word
from plumbline.store_client import INSTALL, Commit, PositionMove, StateWrite, StoreClient, as_dict, new_revision

CHUNK = 4_000
"""Entities whose states are computed and written together."""
ATTEMPTS = 20
NOT_STORED = StoredSlot(b"", {})
CLAIMS_KEPT_US = 7 * DAY
"""Claims that ended longer ago than this before a partition's newest arrival are not installed."""

CLAIM_COLUMNS = ("event_id", "event_timestamp", "created_timestamp", "source_partition", "source_offset")


@dataclass(frozen=True)
class LogCut:
    """How far a log was read.

    positions   partition -> last offset read
    generation  of its history
    reach_us    earliest instant that states of the history answer: HEAD_US before its newest event, or before now
    """

    positions: Mapping[int, int]
    generation: int
    reach_us: int


def log_cut(events: pa.Table, positions: Mapping[int, int], generation: int, now_us: int) -> LogCut:
    """The cut of a log whose accepted events these are."""
    of_history = events["source_partition"].combine_chunks().is_null().to_numpy(zero_copy_only=False)
    at = events["event_timestamp"].cast(pa.int64()).to_numpy()[of_history]
    newest_us = min(int(at.max()), now_us) if len(at) else NEVER
    return LogCut(positions, generation, newest_us - HEAD_US if len(at) else NEVER)


class Installer:
    """Brings one view's states in the store up to a cut of its log; safe beside a running fold and other installers."""

    def __init__(self, client: StoreClient, keyspace: Keyspace, layout: Layout) -> None:
        self._client, self._keyspace, self._layout = client, keyspace, layout
        self._before: list[dict[bytes, bytes]] = []
        self._lost: set[tuple[int, str]] = set()

    def install(self, events: pa.Table, cut: LogCut, progress: Callable[[int], object] | None = None) -> int:
        """Install the states of every entity in the events, then move the positions; the number of entities.

        Positions move last: until then a fold that reads the same partition replays, and states with a newer fence skip.
        Where a state is not there, or unreadable, that the positions say was written, the log's takes its place; what came
        after the log's end is lost with it, so the shard's position goes back to that end and the fold reads it again.
        progress is told how many more rows are done. While one chunk of entities is written the next is computed.
        """
        self._before, self._lost = self._positions(), set()
        log = group_by_entity(events, self._layout)
        done = 0
        with ThreadPoolExecutor(1) as writing:
            written: Future[None] = writing.submit(lambda: None)
            for chunk in log.chunks(CHUNK):
                states = self._computed(log, chunk, cut)
                written.result()
                written = writing.submit(self._write_chunk, log, chunk, states, cut)
                done += log.rows_of(chunk)
                if progress:
                    progress(log.rows_of(chunk))
            written.result()
        if progress:
            progress(events.num_rows - done)  # rows with a null key
        if any(int(known.get(HISTORY.encode(), cut.generation)) != cut.generation for known in self._before):
            self._remove_replaced_history(cut.generation)
        self._move_positions(cut)
        return len(log.entities)

    def _computed(self, log: GroupedLog, chunk: range, cut: LogCut) -> list[dict[str, bytes]]:
        """For each entity of the chunk, slot -> bytes of its state, from the log alone."""
        states: list[dict[str, bytes]] = [{} for _ in chunk]
        for slots, options in (
            (log.history_slots(chunk), {"generation": cut.generation, "reach_us": cut.reach_us}),
            (log.streamed_slots(chunk), {}),
        ):
            if not len(slots.entities):
                continue
            fences = slots.last_offsets if not options else np.full(len(slots.entities), cut.generation)
            unknown = [None] * len(slots.entities)
            folded = fold(self._layout, unknown, log.rows.take(slots.rows), slots.bounds, fences.tolist(), **options)
            for entity, partition, data in zip(slots.entities.tolist(), slots.partitions.tolist(), folded, strict=True):
                states[entity - chunk.start][HISTORY if partition < 0 else str(partition)] = data
        return states

    def _write_chunk(self, log: GroupedLog, chunk: range, states: list[dict[str, bytes]], cut: LogCut) -> None:
        """Entities that the store does not know, or knows just so, take one script a shard; the others are compared here."""
        keys = [self._keyspace.state(self._layout.spec, log.entities[entity]) for entity in chunk]
        by_shard: dict[int, list[int]] = defaultdict(list)
        for i, entity in enumerate(chunk):
            by_shard[self._keyspace.shard(log.entities[entity])].append(i)
        calls = [
            (
                [*(keys[i] for i in of_shard), self._keyspace.revision(shard)],
                [new_revision(), *_slots_as_arguments(states[i] for i in of_shard)],
            )
            for shard, of_shard in by_shard.items()
        ]
        answers = self._client.scripts(INSTALL, calls)
        differing = []
        for (shard, of_shard), (installed, left) in zip(by_shard.items(), answers, strict=True):
            differing += [of_shard[place - 1] for place in left]
            for slot in {slot for place in installed for slot in states[of_shard[place - 1]]}:
                self._note_lost(shard, slot, cut)
        self._compare_and_write(log, chunk, keys, states, differing, cut)

    def _compare_and_write(
        self, log: GroupedLog, chunk: range, keys: list[bytes], states: list[dict[str, bytes]], pending: list[int], cut: LogCut
    ) -> None:
        for _ in range(ATTEMPTS):
            if not pending:
                return
            stored = self._client.pipeline(("HGETALL", keys[i]) for i in pending)
            commits: list[Commit] = [
                ([], self._writes(keys[i], states[i], stored_slots(self._layout, _fields(data)), cut, log, chunk[i]))
                for i, data in zip(pending, stored, strict=True)
            ]
            shards = [self._keyspace.shard(log.entities[chunk[i]]) for i in pending]
            outcomes = self._client.commit(commits, [self._keyspace.revision(shard) for shard in shards])
            pending = [i for i, outcome in zip(pending, outcomes, strict=True) if outcome != "ok"]
        raise RuntimeError(f"States of view '{self._layout.spec.name}' kept changing under materialize; run it again.")

    def _writes(
        self,
        key: bytes,
        computed: Mapping[str, bytes],
        stored: Mapping[str, StoredSlot],
        cut: LogCut,
        log: GroupedLog,
        entity: int,
    ) -> list[StateWrite]:
        writes = []
        for slot in {**computed, **stored}:
            data, stamps = stored.get(slot, NOT_STORED)
            is_push = slot == PUSH
            new = without_logged(self._layout, data, log.rows_of_entity(entity)) if is_push else computed.get(slot, b"")
            if new is not None and new != data and not self._is_ahead(slot, data, cut):
                if not is_push and self._is_behind(data, new):
                    self._note_lost(self._keyspace.shard(log.entities[entity]), slot, cut)
                writes.append(StateWrite(key, slot, stamps.get(slot, b""), new))
                if slot not in (HISTORY, PUSH):  # a fold may have begun a recent state meanwhile
                    writes.append(StateWrite(key, slot + RECENT, stamps.get(slot + RECENT, b""), b""))
        return writes

    def _is_ahead(self, slot: str, data: bytes, cut: LogCut) -> bool:
        """Whether a stored state has seen more of its partition than the log was read: it is compared once the log is there."""
        if slot in (HISTORY, PUSH):
            return False
        return self._fence(data) > cut.positions.get(int(slot), -1)

    def _is_behind(self, data: bytes, new: bytes) -> bool:
        """Whether a stored state lacks what the log's (empty: none) has seen: it is gone, unreadable, or an older one."""
        return self._fence(data) < (header_word(new, FENCE) if new else 0)

    def _fence(self, data: bytes) -> int:
        """The fence of a stored state, -1 where there is none that can be read."""
        try:
            check(data, self._layout.spec.name)
        except StateUnreadable:
            return -1
        return header_word(data, FENCE)

    def _note_lost(self, shard: int, slot: str, cut: LogCut) -> None:
        """Remember a partition whose state the store had lost after it was given more than the log holds."""
        if slot != HISTORY and int(self._before[shard].get(slot.encode(), -1)) > cut.positions.get(int(slot), -1):
            self._lost.add((shard, slot))

    def _remove_replaced_history(self, generation: int) -> None:
        """Entities that the new history no longer has must not keep the old one."""
        spec = self._layout.spec
        for shard in range(self._keyspace.shards):
            prefix = self._keyspace.positions(spec, shard).replace(":p:", ":s:", 1)
            keys = list(self._client.scan(_literal(prefix) + ":*"))
            blobs = self._client.pipeline(("HGET", key, HISTORY) for key in keys)
            commits: list[Commit] = []
            for key, data in zip(keys, blobs, strict=True):
                if data is not None and header_word(data, GENERATION) != generation:
                    commits.append(([], [StateWrite(key, HISTORY, data[:STAMP_BYTES], b"")]))
            self._client.commit(commits)

    def _positions(self) -> list[dict[bytes, bytes]]:
        shards = range(self._keyspace.shards)
        answers = self._client.pipeline(("HGETALL", self._keyspace.positions(self._layout.spec, s)) for s in shards)
        return [as_dict(answer) for answer in answers]

    def _move_positions(self, cut: LogCut) -> None:
        """In every shard: partitions to where the log was read (back only where states were lost), generation and reach."""
        pending = list(range(self._keyspace.shards))
        for _ in range(ATTEMPTS):
            known = self._positions()
            commits: list[Commit] = [
                (
                    [
                        *_moves(self._keyspace.positions(self._layout.spec, s), known[s], cut),
                        *self._taken_back(s, known[s], cut),
                    ],
                    [],
                )
                for s in pending
            ]
            outcomes = self._client.commit(commits)
            pending = [shard for shard, outcome in zip(pending, outcomes, strict=True) if outcome != "ok"]
            if not pending:
                return
        raise RuntimeError(f"Positions of view '{self._layout.spec.name}' kept moving under materialize; run it again.")

    def _taken_back(self, shard: int, known: Mapping[bytes, bytes], cut: LogCut) -> Iterator[PositionMove]:
        key = self._keyspace.positions(self._layout.spec, shard)
        for slot in sorted(slot for of_shard, slot in self._lost if of_shard == shard):
            current, end = known.get(slot.encode()), cut.positions.get(int(slot), -1)
            if current is not None and int(current) > end:
                yield PositionMove(key, slot, current.decode(), str(end) if end >= 0 else "")


def install_claims(claims: Claims, events: pa.Table, allowed_lateness_us: int) -> None:
    """Claims of the log's accepted deliveries, so that a fold that goes on from the log knows the ids before it."""
    named = pc.and_(pc.is_valid(events["source_partition"]), pc.is_valid(events["event_id"]))
    streamed = events.select(list(CLAIM_COLUMNS)).filter(named)
    partitions, created = int64_values(streamed["source_partition"]), int64_values(streamed["created_timestamp"])
    until = int64_values(streamed["event_timestamp"]) + allowed_lateness_us
    for partition in np.unique(partitions).tolist():
        arrived_here = partitions == partition
        kept = np.flatnonzero(arrived_here & (until >= created[arrived_here].max() - CLAIMS_KEPT_US))
        rows = streamed.select(["event_id", "source_offset"]).take(pa.array(kept))
        of_rows = zip(rows["event_id"].to_pylist(), rows["source_offset"].to_pylist(), until[kept].tolist(), strict=True)
        claims.write([Claim(partition, str(event_id).encode(), offset, until_us) for event_id, offset, until_us in of_rows])


def _moves(key: str, known: Mapping[bytes, bytes], cut: LogCut) -> Iterator[PositionMove]:
    wanted = {str(partition): offset for partition, offset in cut.positions.items()}
    for name, value in {**wanted, HISTORY: cut.generation, REACH: cut.reach_us}.items():
        current = known.get(name.encode())
        is_partition = name in wanted
        if current is None or (int(current) < value if is_partition else int(current) != value):
            yield PositionMove(key, name, "" if current is None else current.decode(), str(value))


def _fields(answer: object) -> dict[str, bytes]:
    return {field.decode(): data for field, data in as_dict(answer).items()}


def _literal(pattern: str) -> str:
    return "".join(f"\\{c}" if c in "*?[]\\" else c for c in pattern)


def _slots_as_arguments(states: Iterable[Mapping[str, bytes]]) -> list[object]:
    """What INSTALL takes for each key: the number of slots, then slot and state of each."""
    arguments: list[object] = []
    for slots in states:
        arguments.append(len(slots))
        for slot, data in slots.items():
            arguments += (slot, data)
    return arguments
