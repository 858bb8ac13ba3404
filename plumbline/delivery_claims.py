"""Whether a bucket of entities can judge its deliveries by itself: all that may decide about each other came to one bucket.

A delivery decides about others of its id or its offset in the same partition. Such deliveries carry the same key as a rule,
so they meet in their entity's bucket. Each leaves two marks, which are sorted apart from the events: one of its id, one of
its offset, with the buckets it went to. Where deliveries of one mark went to different buckets, no bucket may judge.
"""

import numpy as np
import pyarrow as pa

from plumbline.acceptance import is_streamed, repeated
from plumbline.hashing import hashes, spread
from plumbline.log_times import int64_values, valid_mask


def marks_of(table: pa.Table, homes: np.ndarray) -> pa.Table:
    """mark (uint64) and home of the deliveries of a log's rows, two each; rows of history leave none.

    homes  (n,) a number for each set of buckets that a row may go to
    """
    streamed = is_streamed(table)
    by_id, by_offset = id_marks(table), offset_marks(table)
    identified = streamed & valid_mask(table["event_id"])
    marks = np.concatenate((by_id[identified], by_offset[streamed]))
    return pa.table({"mark": marks, "home": np.concatenate((homes[identified], homes[streamed]))})


def id_marks(table: pa.Table) -> np.ndarray:
    """(n,) uint64: the same for deliveries of one id in one partition; that of a null means nothing."""
    return spread(hashes(table["event_id"]) ^ spread(int64_values(table["source_partition"])))


def offset_marks(table: pa.Table) -> np.ndarray:
    """(n,) uint64: the same for copies of one record; that of a null means nothing."""
    partition, offset = int64_values(table["source_partition"]), int64_values(table["source_offset"])
    return spread(spread(offset) ^ (spread(partition + 1) >> np.uint64(1)))


def is_mixed(marks: pa.Table) -> bool:
    """Whether deliveries of one mark have different homes (or, once in a great while, two marks are equal by chance)."""
    mark, home = marks["mark"].to_numpy(), int64_values(marks["home"])
    again = repeated(mark, np.ones(len(mark), np.bool_))
    order = again[np.argsort(mark[again], kind="stable")]
    return bool(((np.diff(mark[order]) == 0) & (np.diff(home[order]) != 0)).any())
