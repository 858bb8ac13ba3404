"""Version and checksum of many states at once, in compiled code; state_words.seal and check are the same for one."""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from plumbline.checksum import crc32_of
from plumbline.compiled import inlined, kernel
from plumbline.state_parts import States
from plumbline.state_words import FENCE, HEADER_WORDS, VERSION

NO_STATE = -1
UNREADABLE = 2**62
"""The fence of a damaged state: no row comes after it."""

_NO_WHOLE_WORDS = bytes(8)
"""Stands for a damaged state whose length alone tells so; it is found damaged as it lacks a header."""


@inlined
def seal_of(words: np.ndarray, begin: int, end: int) -> int:
    """Version and checksum of the state that words begin to end are: what its first word must be."""
    return VERSION | crc32_of(words, begin + 1, end) << 32


@kernel
def fences_of(words: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """int64 (states,): the fence of each state, NO_STATE where there is none, UNREADABLE where version or checksum is wrong."""
    fences = np.full(len(starts) - 1, NO_STATE, np.int64)
    for s in range(len(fences)):
        begin, end = starts[s], starts[s + 1]
        if begin < end:
            is_whole = end - begin >= HEADER_WORDS and words[begin] == seal_of(words, begin, end)
            fences[s] = words[begin + FENCE] if is_whole else UNREADABLE
    return fences


def joined(stored: Sequence[bytes | None]) -> tuple[States, np.ndarray]:
    """States one after the other, nothing for one that is None; and their fences, as fences_of says them."""
    states = in_a_row(stored)
    return states, fences_of(states.words, states.starts)


def in_a_row(stored: Sequence[bytes | None]) -> States:
    """States one after the other, not looked at."""
    parts = [b"" if data is None else data if data and len(data) % 8 == 0 else _NO_WHOLE_WORDS for data in stored]
    starts = np.array(list(accumulate(map(len, parts), initial=0)), np.int64) // 8  # cumsum takes tenfold for a handful
    joint = bytearray().join(parts) or bytearray(8)  # as bytes they would be read-only
    words = np.frombuffer(joint, dtype=np.int64)
    return States(words, words.view(np.float64), words.view(np.uint8), starts)


def stamps_of(states: States) -> np.ndarray:
    """int64 (states, 2): the stamp (version, checksum and fence) of each, zeros where there is none."""
    stamps = np.zeros((len(states.starts) - 1, 2), np.int64)
    there = np.flatnonzero(states.starts[1:] > states.starts[:-1])
    begins = states.starts[there]
    stamps[there, 0], stamps[there, 1] = states.words[begins], states.words[begins + FENCE]
    return stamps
