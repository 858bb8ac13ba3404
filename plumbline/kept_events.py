"""The raw events that the states of an entity still hold: the head of a view, for people to look at."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from plumbline.fold_times import first_raw
from plumbline.instant import from_microseconds
from plumbline.layout import Column, Layout
from plumbline.plan import BYTES, FLOAT, PRESENCE
from plumbline.state import raw_part
from plumbline.state_words import EVENT, MAX_TEXT_BYTES, REACH, REFERENCE_BITS, VALID, check
from plumbline.value_codec import from_bytes


@dataclass(frozen=True)
class KeptEvent:
    """One raw event as a view keeps it.

    at       its event timestamp, UTC
    columns  the aggregated columns that are not null: the value, or True where the view needs no more than presence
    """

    at: datetime
    columns: dict[str, object]


@dataclass(frozen=True)
class Head:
    """What a view still holds raw of one entity: the events in order of their time.

    since  from this instant (UTC) on no event is missing; older ones are in tiles. None without any state
    """

    since: datetime | None
    events: list[KeptEvent]


def head_of(layout: Layout, slots: Mapping[bytes, bytes]) -> Head:
    """The head of an entity's states, a slot each. Raises StateUnreadable for a damaged one."""
    events: list[KeptEvent] = []
    since = None
    for data in slots.values():
        check(data, layout.spec.name)
        words = np.frombuffer(data, dtype=np.int64)
        begins = int(first_raw(layout.plan, int(words[REACH])))
        since = begins if since is None else max(since, begins)
        events += _events_of(layout, words, data)
    events.sort(key=lambda event: event.at)
    return Head(None if since is None else from_microseconds(max(since, 0)), events)


def _events_of(layout: Layout, words: np.ndarray, data: bytes) -> list[KeptEvent]:
    rows, texts = raw_part(layout, words, data)
    fixed, heap = rows.shape[1] - layout.value_words, texts.tobytes()
    return [
        KeptEvent(
            from_microseconds(int(row[EVENT])),
            {
                column.name: _value(column, row[fixed:], heap)
                for bit, column in enumerate(layout.column_list)
                if int(row[VALID]) >> bit & 1
            },
        )
        for row in rows
        if row[VALID]
    ]


def _value(column: Column, values: np.ndarray, heap: bytes) -> object:
    if column.storage == PRESENCE or column.value_word < 0:
        return True
    word = values[column.value_word]
    if column.storage == FLOAT:
        return float(word.view(np.float64))
    if column.storage != BYTES:
        return int(word)
    start = int(word) >> REFERENCE_BITS
    return from_bytes(heap[start : start + (int(word) & MAX_TEXT_BYTES)], column.data_type)
