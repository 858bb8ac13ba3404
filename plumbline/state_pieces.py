"""A slot's state in two pieces, so that a large one is not written anew for every event: what has settled, and what came since.

A fold writes a state whole until it is SPLIT_BYTES long. From then on new rows go to a second, small state in the field
`<slot>+`, all of them raw; readers take it for one more slot. When it is longer than RECENT_BYTES and than an eighth of the
settled one, its rows are folded into that. So of a large state of b bytes that grows by r bytes a batch some b/16 + 8 r are
written, not b.

The recent state's fence and stamp are the slot's: whoever compares, compares those.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from plumbline.layout import Layout
from plumbline.rows import Rows, together
from plumbline.state import fold, raw_part
from plumbline.state_words import (
    CREATED,
    FENCE,
    FIXED_WORDS,
    NEVER,
    NEWEST,
    STAMP_BYTES,
    StateUnreadable,
    check,
    header_word,
)

RECENT = "+"
"""Ends the field of a recent state."""
SPLIT_BYTES, RECENT_BYTES = 1_024, 512
DAMAGED = b"damaged"
"""Nobody takes it for a state."""
FOR_EVER = NEVER + 1
"""The reach of a recent state: none of its rows ever leaves it for a tile."""


class Slot(NamedTuple):
    """What a fold finds of a slot: either piece may be missing; the settled one is not fetched while the other is small."""

    settled: bytes | None
    recent: bytes | None

    @property
    def newest(self) -> bytes | None:
        """The piece whose fence and stamp are the slot's."""
        return self.settled if self.recent is None else self.recent

    @property
    def is_large(self) -> bool:
        """Whether new rows are written beside the settled state."""
        return self.recent is not None or len(self.settled or b"") >= SPLIT_BYTES


class StoredSlot(NamedTuple):
    """A slot as materialize compares it: the state that its pieces make, and the stamp of each field that there is."""

    data: bytes
    stamps: dict[str, bytes]


def slot_of(field: str) -> str:
    """The slot that a field of an entity's hash belongs to."""
    return field.removesuffix(RECENT)


def settle(layout: Layout, slots: Sequence[Slot]) -> list[bytes]:
    """One state of each slot's two pieces. Raises StateUnreadable for a damaged one."""
    recent = [slot.recent or b"" for slot in slots]
    for data in recent:
        check(data, layout.spec.name)
    rows = [_rows_of(layout, data) for data in recent]
    groups = np.cumsum([0, *map(len, rows)])
    fences = [header_word(data, FENCE) for data in recent]
    return fold(layout, [slot.settled for slot in slots], together(layout.plan.texts, rows), groups, fences)


def stored_slots(layout: Layout, fields: Mapping[str, bytes]) -> dict[str, StoredSlot]:
    """The slots of an entity; one with a damaged piece is DAMAGED."""
    slots = {}
    for slot in dict.fromkeys(map(slot_of, fields)):
        pieces = {name: fields[name] for name in (slot, slot + RECENT) if name in fields}
        stamps = {name: data[:STAMP_BYTES] for name, data in pieces.items()}
        slots[slot] = StoredSlot(_as_one(layout, Slot(pieces.get(slot), pieces.get(slot + RECENT))), stamps)
    return slots


def _as_one(layout: Layout, slot: Slot) -> bytes:
    if slot.recent is None:
        return slot.settled or b""
    try:
        return settle(layout, [slot])[0]
    except StateUnreadable:
        return DAMAGED


def _rows_of(layout: Layout, data: bytes) -> Rows:
    """The rows of a recent state; where they keep no created time, the state's newest stands for it."""
    words = np.frombuffer(data, dtype=np.int64)
    stored, heap = raw_part(layout, words, data)
    fixed = stored.shape[1] - layout.value_words
    rows = np.zeros((len(stored), FIXED_WORDS + layout.value_words), np.int64)
    rows[:, CREATED] = words[NEWEST]
    rows[:, :fixed] = stored[:, :fixed]
    rows[:, FIXED_WORDS:] = stored[:, fixed:]
    return Rows(rows, heap)
