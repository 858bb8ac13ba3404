"""States computed from the log, installed in the online store where they are ahead of, or differ from, what is there."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa

from plumbline.deliveries import Claim, Claims
from plumbline.durations import DAY
from plumbline.keyspace import HISTORY, PUSH, REACH, Keyspace
from plumbline.layout import HEAD_US, Layout
from plumbline.pushing import without_logged
from plumbline.rows import Rows, rows_from_table
from plumbline.state import fold
from plumbline.state_words import FENCE, GENERATION, NEVER, STAMP_BYTES, StateUnreadable, check, header_word
from plumbline.store_client import Commit, PositionMove, StateWrite, StoreClient
from plumbline.value_codec import entity_bytes, join_key_columns

_T = TypeVar("_T")

CHUNK = 500
ATTEMPTS = 20
CLAIMS_KEPT_US = 7 * DAY
"""Claims that ended longer ago than this before a partition's newest arrival are not installed."""


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


@dataclass(frozen=True)
class _Columns:
    """A log's rows for one view, with their partitions (-1 for history) and offsets."""

    rows: Rows
    partitions: np.ndarray
    offsets: np.ndarray


class Installer:
    """Brings one view's states in the store up to a cut of its log; safe beside a running fold and other installers."""

    def __init__(self, client: StoreClient, keyspace: Keyspace, layout: Layout) -> None:
        self._client, self._keyspace, self._layout = client, keyspace, layout

    def install(self, events: pa.Table, cut: LogCut, progress: Callable[[int], object] | None = None) -> int:
        """Install the states of every entity in the events, then move the positions; the number of entities.

        progress is told how many more rows are done.

        Positions move last: until then a fold that reads the same partition replays, and states with a newer fence skip.
        """
        before = self._positions()
        entities = done = 0
        for chunk in _chunks(self._grouped(events), CHUNK):
            self._install_chunk(chunk, cut)
            entities += len(chunk)
            rows = sum(len(indices) for _, indices, _ in chunk)
            done += rows
            if progress:
                progress(rows)
        if progress:
            progress(events.num_rows - done)  # rows with a null key
        if any(int(known.get(HISTORY.encode(), cut.generation)) != cut.generation for known in before):
            self._remove_replaced_history(cut.generation)
        self._move_positions(cut)
        return entities

    def _grouped(self, events: pa.Table) -> Iterator[tuple[bytes, np.ndarray, "_Columns"]]:
        """Each entity with the indices of its rows, ordered by slot and offset."""
        join_keys = self._layout.spec.join_keys
        keys = entity_bytes(join_keys, join_key_columns(events, join_keys))
        codes: dict[bytes, int] = {}
        code = np.array([-1 if key is None else codes.setdefault(key, len(codes)) for key in keys], dtype=np.int64)
        partitions, offsets = (
            np.asarray(events[name].fill_null(-1).to_numpy(), dtype=np.int64) for name in ("source_partition", "source_offset")
        )
        columns = _Columns(rows_from_table(events, self._layout, keep_ids=True), partitions, offsets)
        order = np.lexsort((offsets, partitions, code))
        bounds = np.searchsorted(code[order], np.arange(len(codes) + 1))
        for key, start, end in zip(codes, bounds[:-1], bounds[1:], strict=True):
            yield key, order[start:end], columns

    def _install_chunk(self, chunk: Sequence[tuple[bytes, np.ndarray, "_Columns"]], cut: LogCut) -> None:
        computed = self._computed(chunk, cut)
        pending = [(entity, indices, columns) for entity, indices, columns in chunk]
        for _ in range(ATTEMPTS):
            keys = [self._keyspace.state(self._layout.spec, entity) for entity, _, _ in pending]
            stored = self._client.pipeline(("HGETALL", key) for key in keys)
            commits: list[tuple[list[PositionMove], list[StateWrite]]] = [
                ([], self._writes(key, computed[entity], _slots(data), cut, columns.rows, indices))
                for (entity, indices, columns), key, data in zip(pending, keys, stored, strict=True)
            ]
            outcomes = self._client.commit(commits)
            pending = [item for item, outcome in zip(pending, outcomes, strict=True) if outcome != "ok"]
            if not pending:
                return
        raise RuntimeError(f"States of view '{self._layout.spec.name}' kept changing under materialize; run it again.")

    def _computed(self, chunk: Sequence[tuple[bytes, np.ndarray, "_Columns"]], cut: LogCut) -> dict[bytes, dict[str, bytes]]:
        """The bytes of each entity's slots, from the log alone."""
        states: dict[bytes, dict[str, bytes]] = {entity: {} for entity, _, _ in chunk}
        history: list[tuple[bytes, int, np.ndarray]] = []
        streamed: list[tuple[bytes, int, np.ndarray]] = []
        for entity, indices, columns in chunk:
            slots = columns.partitions[indices]
            for partition in np.unique(slots).tolist():
                one = (entity, partition, indices[slots == partition])
                (history if partition < 0 else streamed).append(one)
        rows, offsets = chunk[0][2].rows, chunk[0][2].offsets
        for slots_of, fences, options in (
            (history, [cut.generation] * len(history), {"generation": cut.generation, "reach_us": cut.reach_us}),
            (streamed, [int(offsets[indices[-1]]) for _, _, indices in streamed], {}),
        ):
            if not slots_of:
                continue
            groups = np.cumsum([0, *(len(indices) for _, _, indices in slots_of)])
            taken = rows.take(np.concatenate([indices for _, _, indices in slots_of]))
            folded = fold(self._layout, [None] * len(slots_of), taken, groups, fences, **options)
            for (entity, partition, _), data in zip(slots_of, folded, strict=True):
                states[entity][HISTORY if partition < 0 else str(partition)] = data
        return states

    def _writes(
        self,
        key: bytes,
        computed: Mapping[str, bytes],
        stored: Mapping[str, bytes],
        cut: LogCut,
        rows: Rows,
        indices: np.ndarray,
    ) -> list[StateWrite]:
        writes = []
        for slot in {**computed, **stored}:
            data = stored.get(slot)
            is_push = slot == PUSH
            new = without_logged(self._layout, stored[slot], rows.take(indices)) if is_push else computed.get(slot, b"")
            if new is not None and new != data and not self._is_ahead(slot, data, cut):
                writes.append(StateWrite(key, slot, b"" if data is None else data[:STAMP_BYTES], new))
        return writes

    def _is_ahead(self, slot: str, data: bytes | None, cut: LogCut) -> bool:
        """Whether a stored state has seen more of its partition than the log was read: it is compared once the log is there."""
        if data is None or slot in (HISTORY, PUSH):
            return False
        try:
            check(data, self._layout.spec.name)
        except StateUnreadable:
            return False
        return header_word(data, FENCE) > cut.positions.get(int(slot), -1)

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
        return [_as_dict(answer) for answer in answers]

    def _move_positions(self, cut: LogCut) -> None:
        """In every shard: partitions to where the log was read, unless the fold is further; generation and reach."""
        pending = list(range(self._keyspace.shards))
        for _ in range(ATTEMPTS):
            known = self._positions()
            commits: list[Commit] = [
                ([*_moves(self._keyspace.positions(self._layout.spec, s), known[s], cut)], []) for s in pending
            ]
            outcomes = self._client.commit(commits)
            pending = [shard for shard, outcome in zip(pending, outcomes, strict=True) if outcome != "ok"]
            if not pending:
                return
        raise RuntimeError(f"Positions of view '{self._layout.spec.name}' kept moving under materialize; run it again.")


def install_claims(claims: Claims, events: pa.Table, allowed_lateness_us: int) -> None:
    """Claims of the log's accepted deliveries, so that a fold that goes on from the log knows the ids before it."""
    streamed = events.filter(events["source_partition"].combine_chunks().is_valid())
    by_partition: dict[int, list[tuple[bytes, Claim, int]]] = defaultdict(list)
    at, created = (streamed[name].cast(pa.int64()).to_pylist() for name in ("event_timestamp", "created_timestamp"))
    for partition, offset, event_id, at_us, created_us in zip(
        streamed["source_partition"].to_pylist(), streamed["source_offset"].to_pylist(),
        streamed["event_id"].to_pylist(), at, created, strict=True,
    ):  # fmt: skip
        if event_id is not None:
            claim = Claim(offset, at_us + allowed_lateness_us)
            by_partition[partition].append((str(event_id).encode(), claim, created_us))
    for partition, found in by_partition.items():
        newest_us = max(created_us for _, _, created_us in found)
        claims.write(partition, [(i, c) for i, c, _ in found if c.until_us >= newest_us - CLAIMS_KEPT_US])


def _moves(key: str, known: Mapping[bytes, bytes], cut: LogCut) -> Iterator[PositionMove]:
    wanted = {str(partition): offset for partition, offset in cut.positions.items()}
    for name, value in {**wanted, HISTORY: cut.generation, REACH: cut.reach_us}.items():
        current = known.get(name.encode())
        is_partition = name in wanted
        if current is None or (int(current) < value if is_partition else int(current) != value):
            yield PositionMove(key, name, "" if current is None else current.decode(), str(value))


def _slots(answer: object) -> dict[str, bytes]:
    return {slot.decode(): data for slot, data in _as_dict(answer).items()}


def _as_dict(answer: object) -> dict[bytes, bytes]:
    if isinstance(answer, dict):
        return answer
    flat = list(answer or ())
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _literal(pattern: str) -> str:
    return "".join(f"\\{c}" if c in "*?[]\\" else c for c in pattern)


def _chunks(items: Iterator[_T], size: int) -> Iterator[list[_T]]:
    chunk: list[_T] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
