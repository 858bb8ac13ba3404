"""Where the words of a state are: one entity, one slot, one view. All words are 64-bit, little-endian.

word 0    u32 version, u32 CRC-32 of everything after word 0
word 1    fence: last offset applied (a partition), generation (history), revision (push)
word 2    generation of the history this was computed from, else -1
word 3    reach: earliest instant that can be answered, microseconds
word 4    newest created timestamp seen, microseconds
word 5    1 when raw rows keep created timestamps and ids
word 6    raw rows     word 7  tiles     word 8  bytes of the heap
then      a record for each column with `last`; the number of kept values for each column with `count_distinct`;
          raw rows in order of (event time, created time, id); tiles in order of their start;
          (key, last seen) for each value kept for count_distinct, in order of the key; the heap, padded to whole words

raw row   event time, one bit a column that is not null, [created time, id], one word a value (plumbline.layout)
tile      start, intermediates of the aggregates (plumbline.aggregates), a record for each column with `first`
record    1 when there is one, event time, created time, id, value
id, text  a reference into the heap: offset << 20 | length

A large slot has a second state beside the settled one, of the rows that came since: header, raw rows and heap alone, its reach
before all time (plumbline.state_pieces).
"""

import struct
import zlib

VERSION = 2
STAMP_BYTES = 16
"""Version, checksum and fence: what a writer compares before it overwrites."""

FENCE, GENERATION, REACH, NEWEST, WITH_ORDER, RAW_ROWS, TILES, HEAP_BYTES, HEADER_WORDS = 1, 2, 3, 4, 5, 6, 7, 8, 9
EVENT, VALID, CREATED, ID, FIXED_WORDS = 0, 1, 2, 3, 4
UNORDERED_WORDS = 2
"""Fixed words of a raw row that keeps no created time and id."""

RECORD_WORDS = 5

NEVER = -(2**62)
REFERENCE_BITS = 20
MAX_TEXT_BYTES = (1 << REFERENCE_BITS) - 1


class StateUnreadable(ValueError):
    """A state whose checksum or version is wrong: it was damaged or comes from another version; materialize rebuilds it."""


def seal(words: bytes) -> bytes:
    """A state's bytes with version and checksum in word 0."""
    body = memoryview(words)[8:]
    return struct.pack("<II", VERSION, zlib.crc32(body)) + body


def check(data: bytes, view: str) -> None:
    """Raise StateUnreadable when version or checksum is wrong."""
    if len(data) >= 8 * HEADER_WORDS and len(data) % 8 == 0:
        version, checksum = struct.unpack_from("<II", data)
        if version == VERSION and zlib.crc32(memoryview(data)[8:]) == checksum:
            return
    raise unreadable(view)


def unreadable(view: str) -> StateUnreadable:
    """What is raised of a damaged state of a view."""
    return StateUnreadable(f"A state of view '{view}' is damaged or of another version; run `make materialize`.")


def header_word(data: bytes, word: int) -> int:
    """One word of a state's header."""
    return struct.unpack_from("<q", data, 8 * word)[0]
