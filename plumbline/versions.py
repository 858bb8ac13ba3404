"""Rows of a slowly changing view online: the newest known for a while and all later ones, so that recent instants read right.

Bytes: i64 random-free revision and u32 CRC-32 (the 12 bytes a writer compares), i64 reach, u32 rows; then for each row i64
event time, i64 created time, u32 features, and for each feature its name and serialized Feast value, both with u32 lengths.
"""

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from plumbline.durations import MINUTE
from plumbline.state_words import StateUnreadable

KEEP_US = 5 * MINUTE
"""Rows that were superseded longer ago than this are dropped (design section 2)."""

STAMP_BYTES = 12
NEVER = -(2**62)
_HEAD = struct.Struct("<qI")
_FIXED = struct.Struct("<qI")
_ROW = struct.Struct("<qqI")
_DAMAGED = "The rows of an entity in a slowly changing view are damaged; run `make materialize`."


@dataclass(frozen=True)
class Version:
    """One row: when it holds from, when it was known (microseconds UTC), and its features as serialized Feast values."""

    event_us: int
    created_us: int
    features: Mapping[str, bytes]


@dataclass(frozen=True)
class Versions:
    """An entity's rows in order of (event time, created time); instants before reach_us cannot be answered."""

    revision: int = 0
    reach_us: int = NEVER
    rows: tuple[Version, ...] = ()

    def with_rows(self, added: Sequence[Version], now_us: int) -> "Versions":
        """These rows and the added ones, without those superseded more than KEEP_US ago; equal times: the later write stays."""
        by_time = {(row.event_us, row.created_us): row for row in (*self.rows, *added)}
        rows = [by_time[time] for time in sorted(by_time) if time[0] >= self.reach_us or not self.rows]
        settled = [i for i, row in enumerate(rows) if row.event_us <= now_us - KEEP_US]
        dropped = settled[-1] if settled else 0
        reach = rows[dropped].event_us if dropped else self.reach_us
        return replace(self, revision=self.revision + 1, reach_us=max(reach, self.reach_us), rows=tuple(rows[dropped:]))

    def at(self, at_us: int) -> Version | None:
        """The newest row that holds at an instant; None before the first."""
        return next((row for row in reversed(self.rows) if row.event_us <= at_us), None)


def encode(versions: Versions) -> bytes:
    """The bytes of an entity's rows."""
    parts = [_FIXED.pack(versions.reach_us, len(versions.rows))]
    for row in versions.rows:
        parts.append(_ROW.pack(row.event_us, row.created_us, len(row.features)))
        for name, value in row.features.items():
            parts += [_with_length(name.encode()), _with_length(value)]
    body = b"".join(parts)
    return _HEAD.pack(versions.revision, zlib.crc32(body)) + body


def decode(data: bytes) -> Versions:
    """The rows that were encoded; raises StateUnreadable when they are too short or the checksum is wrong."""
    if len(data) < _HEAD.size + _FIXED.size:
        raise StateUnreadable(_DAMAGED)
    revision, checksum = _HEAD.unpack_from(data)
    if zlib.crc32(memoryview(data)[_HEAD.size :]) != checksum:
        raise StateUnreadable(_DAMAGED)
    reach_us, count = _FIXED.unpack_from(data, _HEAD.size)
    offset = _HEAD.size + _FIXED.size
    rows = []
    for _ in range(count):
        event_us, created_us, features = _ROW.unpack_from(data, offset)
        offset += _ROW.size
        values = {}
        for _ in range(features):
            name, offset = _read(data, offset)
            values[name.decode()], offset = _read(data, offset)
        rows.append(Version(event_us, created_us, values))
    return Versions(revision, reach_us, tuple(rows))


def _with_length(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def _read(data: bytes, offset: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from("<I", data, offset)
    return data[offset + 4 : offset + 4 + length], offset + 4 + length
