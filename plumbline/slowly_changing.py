"""Slowly changing views: for each entity row the newest row of a table that is not after it, within a time to live."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from plumbline.late_kernels import find_late, no_late, raise_to_late_max
from plumbline.log_times import int64_values
from plumbline.timeline import align, order_ties
from plumbline.window_kernels import last_valid


def latest(
    table: pa.Table,
    join_keys: Sequence[str],
    rows: pa.Table,
    at: pa.Array | pa.ChunkedArray,
    ttl_us: int,
    as_known: bool,
) -> pa.Array:
    """Which row of the table holds for each entity row: (n,) int64 positions, null where none does.

    table     join keys, event_timestamp, created_timestamp (timestamp[us, UTC]) as event_log.read_rows gives them
    rows, at  n entity rows with the join keys, and their instants; no join keys make everything one entity
    ttl_us    a row older than this does not hold; its last instant counts, 0 means for ever
    as_known  leave out what was created after the row's instant

    Of equal times the newest created_timestamp holds, of those the last in the table.
    """
    line = align(table, rows, join_keys, at, shift_us=1)
    order_ties(line, table, by_id=False)
    created_us = int64_values(table["created_timestamp"])[line.event_order] + 1 if as_known else line.event_us
    late_mask, late = find_late(line, created_us) if as_known else no_late(line)
    begins = np.repeat(line.event_starts[:-1], np.diff(line.row_starts))
    found = last_valid(~late_mask, begins, line.ends)
    everything = np.ones(len(line.event_us), np.bool_)
    raise_to_late_max(late, begins, everything, np.arange(len(line.event_us)), found, -1)
    if ttl_us and len(line.event_us):
        found[line.row_us - 1 - line.event_us[found] > ttl_us] = -1
    positions = np.full(len(at), -1)
    holds = found >= 0
    positions[line.row_order[holds]] = line.event_order[found[holds]]
    return pa.array(positions, mask=positions < 0)
