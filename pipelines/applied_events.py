"""The events that logged answers count: read from the log once a view, told apart by positions, windows over them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plumbline.event_log import read_events
from plumbline.log_times import int64_values, valid_mask
from plumbline.point_in_time import evaluate
from plumbline.view_spec import ViewSpec

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ROWS_AT_ONCE = 2_000_000
"""Rows that are laid out side by side for the answers of one evaluation; a hot merchant's answers share its rows."""
ANSWER = "answer"
"""The join key that stands for the view's own: each answer has events of its own, those its positions reach."""


@dataclass(frozen=True)
class Asked:
    """What an answer asks of a view: the entity, the instant, and the last offset that counts of each partition."""

    keys: tuple[str | None, ...]
    at: datetime
    ends: Mapping[int, int]

    @property
    def at_us(self) -> int:
        return (self.at - EPOCH) // timedelta(microseconds=1)


def values(spec: ViewSpec, asked: Sequence[Asked]) -> list[dict[str, object]]:
    """Window name -> value for each of the answers, in order.

    Raises OverflowError, naming the entity, when an integer sum leaves int64.
    """
    return [row for numbers, events in _side_by_side(spec, asked) for row in _evaluated(spec, asked, numbers, events)]


def events(spec: ViewSpec, one: Asked) -> pa.Table:
    """The accepted events that one answer counts: of its entity, before its instant, at or before its positions."""
    (_, found), *_ = _side_by_side(spec, [one])
    return found


def evaluated(spec: ViewSpec, numbered: pa.Table, at: Sequence[datetime]) -> list[dict[str, object]]:
    """Window name -> value for each instant, over the events that carry its number in the column ANSWER."""
    numbers = pa.table({ANSWER: pa.array(range(len(at)), pa.int64())})
    instants = pa.array(at, pa.timestamp("us", tz="UTC"))
    return evaluate(numbered, replace(spec, join_keys=(ANSWER,)), numbers, instants, as_known=False).to_pylist()


def _evaluated(spec: ViewSpec, asked: Sequence[Asked], numbers: range, numbered: pa.Table) -> list[dict[str, object]]:
    shifted = pc.subtract(numbered[ANSWER], numbers.start)
    numbered = numbered.set_column(numbered.column_names.index(ANSWER), ANSWER, shifted)
    return evaluated(spec, numbered, [asked[number].at for number in numbers])


def _side_by_side(spec: ViewSpec, asked: Sequence[Asked]) -> Iterator[tuple[range, pa.Table]]:
    """Runs of answers, and the events of each of them with its number in the column ANSWER."""
    read = _read(spec, asked)
    rows = read.select(spec.join_keys).append_column("row", pa.array(np.arange(read.num_rows)))
    for numbers in _runs(rows, spec, asked):
        pairs = _entities(spec, asked, numbers).join(rows, list(spec.join_keys), join_type="inner")
        answer, row = int64_values(pairs[ANSWER]), int64_values(pairs["row"])
        counted = _counted(read, asked, answer, row)
        answer, row = answer[counted], row[counted]
        yield numbers, read.take(pa.array(row)).append_column(ANSWER, pa.array(answer))


def _read(spec: ViewSpec, asked: Sequence[Asked]) -> pa.Table:
    """The accepted events of all the entities, from the first window's start to the last instant."""
    keys = {key: _texts(one.keys[place] for one in asked) for place, key in enumerate(spec.join_keys)}
    instants = [one.at_us for one in asked]
    since_us = min(instants) - max(window.window_us + window.slide_us for window in spec.windows)
    read = read_events(
        spec.source, spec.columns, join_keys=spec.join_keys, keys=keys, since_us=since_us, until_us=max(instants)
    )
    for key in spec.join_keys:
        read = read.set_column(read.column_names.index(key), key, read[key].cast(pa.string()))
    return read


def _runs(rows: pa.Table, spec: ViewSpec, asked: Sequence[Asked]) -> Iterator[range]:
    """The numbers of answers in runs whose entities have ROWS_AT_ONCE rows together; at least one a run."""
    keys = list(spec.join_keys)
    sizes = rows.group_by(keys).aggregate([([], "count_all")])
    of_answers = _entities(spec, asked, range(len(asked))).join(sizes, keys, join_type="inner")
    size = np.zeros(len(asked), np.int64)
    size[int64_values(of_answers[ANSWER])] = int64_values(of_answers["count_all"])
    begin, total = 0, 0
    for number, of_answer in enumerate(size.tolist()):
        if total + of_answer > ROWS_AT_ONCE and number > begin:
            yield range(begin, number)
            begin, total = number, 0
        total += of_answer
    yield range(begin, len(asked))


def _entities(spec: ViewSpec, asked: Sequence[Asked], numbers: range) -> pa.Table:
    columns = {key: pa.array([asked[n].keys[i] for n in numbers], pa.string()) for i, key in enumerate(spec.join_keys)}
    return pa.table({**columns, ANSWER: pa.array(numbers, pa.int64())})


def _counted(read: pa.Table, asked: Sequence[Asked], answer: np.ndarray, row: np.ndarray) -> np.ndarray:
    """(pairs,) bool: the row lies before the answer's instant, and is history or at most at its positions."""
    before = int64_values(read["event_timestamp"])[row] < np.array([one.at_us for one in asked])[answer]
    streamed = valid_mask(read["source_partition"])
    partition = np.where(streamed, int64_values(read["source_partition"]), 0)
    ends = np.full((len(asked), int(partition.max(initial=0)) + 1), -1, np.int64)
    for number, one in enumerate(asked):
        for of_partition, end in one.ends.items():
            if of_partition < ends.shape[1]:
                ends[number, of_partition] = end
    reached = int64_values(read["source_offset"])[row] <= ends[answer, partition[row]]
    return before & (~streamed[row] | reached)


def _texts(found: Iterator[str | None]) -> pa.Array:
    return pa.array(sorted({text for text in found if text is not None}), pa.string())
