"""Rows pushed without an offset: the slot `push`, raw rows with their ids, written by compare-and-set."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plumbline import acceptance
from plumbline.event_log import LogNotFoundError, read_events
from plumbline.instant import to_microseconds
from plumbline.keyspace import PUSH, Keyspace
from plumbline.layout import Layout
from plumbline.log_times import int64_values
from plumbline.rows import CREATED, EVENT, VALID, Rows, rows_from_table
from plumbline.state import fold, raw_rows_at, row_identities
from plumbline.state_words import FENCE, STAMP_BYTES, StateUnreadable, check, header_word, seal
from plumbline.store_client import Commit, StateWrite, StoreClient
from plumbline.value_codec import entity_bytes, join_key_columns
from plumbline.view_spec import LogSource

ATTEMPTS = 20


@dataclass
class PushCounts:
    """What became of pushed rows: how many were too late or refused (dated more than 5 minutes ahead) and so not counted."""

    rows: int = 0
    too_late: int = 0
    refused: int = 0
    rejected_rows: list[int] = field(default_factory=list)


def push_rows(client: StoreClient, keyspace: Keyspace, layouts: list[Layout], table: pa.Table) -> PushCounts:
    """Add rows (plumbline.event_table.normalised) to the push slot of every view; duplicates of known ids change nothing.

    rejected_rows are the indices of the rows that were too late or refused.
    """
    source = layouts[0].spec.source
    lateness_us = source.allowed_lateness_us
    verdict = _timeliness(source, table)
    kept = table.filter(pa.array(verdict == acceptance.ACCEPTED))
    for layout in layouts:
        _push_view(client, keyspace, layout, kept, lateness_us)
    return PushCounts(
        table.num_rows,
        int((verdict == acceptance.TOO_LATE).sum()),
        int((verdict == acceptance.REFUSED).sum()),
        np.flatnonzero(verdict != acceptance.ACCEPTED).tolist(),
    )


def not_yet_logged(source: LogSource, table: pa.Table) -> np.ndarray:
    """Which pushed rows belong in the log: timely, and no duplicate of a row of its history or of this push.

    Rows with a partition and offset belong there as they are: whoever reads the log recognises them.
    """
    at, created = _times(table)
    wanted = _timeliness(source, table) == acceptance.ACCEPTED
    streamed = np.asarray(table["source_offset"].combine_chunks().is_valid().to_numpy(zero_copy_only=False), dtype=bool)
    claimed = _claimed_by_history(source) if table["event_id"].null_count < table.num_rows else {}
    for i, event_id in enumerate(table["event_id"].to_pylist()):
        if event_id is None or streamed[i] or not wanted[i]:
            continue
        if claimed.get(event_id, created[i] - 1) >= created[i]:
            wanted[i] = False
        else:
            claimed[event_id] = max(claimed.get(event_id, at[i]), at[i] + source.allowed_lateness_us)
    return wanted | streamed


def _timeliness(source: LogSource, table: pa.Table) -> np.ndarray:
    """ACCEPTED, TOO_LATE or REFUSED for each pushed row.

    Where the source has no created column, the instant of the push tells what is ahead of its time; what is refused for it is
    in no log, so that the log's reader need not know.
    """
    at, created = _times(table)
    if source.created_timestamp_column is None:
        created = np.minimum(created, to_microseconds(datetime.now(UTC)))
    return acceptance.timeliness(at, created, source.allowed_lateness_us)


def _times(table: pa.Table) -> list[np.ndarray]:
    """Event and created times in microseconds."""
    return [int64_values(table[name]) for name in ("event_timestamp", "created_timestamp")]


def _claimed_by_history(source: LogSource) -> dict[str, int]:
    """Event id of a history row -> until when deliveries of it are duplicates."""
    try:
        events = read_events(source, [])
    except LogNotFoundError:
        return {}
    history = events.filter(events["source_partition"].combine_chunks().is_null())
    until = pc.add(history["event_timestamp"].cast(pa.int64()), source.allowed_lateness_us).to_pylist()
    claimed: dict[str, int] = {}
    for event_id, until_us in zip(history["event_id"].to_pylist(), until, strict=True):
        if event_id is not None:
            claimed[str(event_id)] = max(claimed.get(str(event_id), until_us), until_us)
    return claimed


def _push_view(client: StoreClient, keyspace: Keyspace, layout: Layout, table: pa.Table, lateness_us: int) -> None:
    rows = rows_from_table(table, layout, keep_ids=True)
    grouped: dict[bytes, list[int]] = defaultdict(list)
    keys = entity_bytes(layout.spec.join_keys, join_key_columns(table, layout.spec.join_keys))
    for i, entity in enumerate(keys):
        if entity is not None:
            grouped[entity].append(i)
    pending = list(grouped)
    if not pending:
        return
    for _ in range(ATTEMPTS):
        names = [keyspace.state(layout.spec, entity) for entity in pending]
        stored = client.pipeline(("HGET", name, PUSH) for name in names)
        folded = _pushed(layout, stored, rows, [np.array(grouped[entity]) for entity in pending], lateness_us)
        commits: list[Commit] = [
            ([], [StateWrite(name, PUSH, b"" if data is None else data[:STAMP_BYTES], new)])
            for name, data, new in zip(names, stored, folded, strict=True)
        ]
        outcomes = client.commit(commits)
        pending = [entity for entity, outcome in zip(pending, outcomes, strict=True) if outcome != "ok"]
        if not pending:
            return
    raise RuntimeError(f"Pushed rows of view '{layout.spec.name}' kept changing under the push; push again.")


def _pushed(layout: Layout, stored: list[bytes | None], rows: Rows, indices: list[np.ndarray], lateness_us: int) -> list[bytes]:
    """The bytes of each entity's push slot after its rows; the fence counts the writes."""
    accepted = [
        of_entity[_first_of_their_ids(layout, data, rows.take(of_entity), lateness_us)]
        for data, of_entity in zip(stored, indices, strict=True)
    ]
    groups = np.cumsum([0, *map(len, accepted)])
    taken = rows.take(np.concatenate(accepted))
    fences = [1 if data is None else header_word(data, FENCE) + 1 for data in stored]
    return fold(layout, stored, taken, groups, fences, keep_us=lateness_us)


def without_logged(layout: Layout, data: bytes, logged: Rows) -> bytes | None:
    """A push slot whose rows that the log now holds count no more; None where it holds none of them.

    The rows stay with no column valid, so that their ids are still known should they be pushed again.
    """
    try:
        check(data, layout.spec.name)
    except StateUnreadable:
        return b""
    words = np.frombuffer(data, dtype=np.int64).copy()
    pushed = raw_rows_at(layout, words, data)
    known = set(row_identities(layout, logged))
    in_log = np.array([identity in known for identity in row_identities(layout, pushed)], dtype=bool)
    if not (in_log & (pushed.words[:, VALID] != 0)).any():
        return None
    pushed.words[in_log, VALID] = 0
    words[FENCE] += 1
    return seal(words.tobytes())


def _first_of_their_ids(layout: Layout, data: bytes | None, rows: Rows, lateness_us: int) -> np.ndarray:
    """Which rows are no duplicate of one accepted before: its time plus the lateness is before this one's creation."""
    claimed: dict[bytes, int] = {}
    if data is not None:
        check(data, layout.spec.name)
        pushed = raw_rows_at(layout, np.frombuffer(data, dtype=np.int64), data)
        for event_id, at in zip(pushed.ids(), pushed.words[:, EVENT].tolist(), strict=True):
            claimed[event_id] = max(claimed.get(event_id, at + lateness_us), at + lateness_us)
    accepted = np.ones(len(rows), dtype=bool)
    times = zip(rows.ids(), rows.words[:, EVENT].tolist(), rows.words[:, CREATED].tolist(), strict=True)
    for i, (event_id, at, created) in enumerate(times):
        if event_id and claimed.get(event_id, created - 1) >= created:
            accepted[i] = False
        elif event_id:
            claimed[event_id] = max(claimed.get(event_id, at + lateness_us), at + lateness_us)
    return accepted
