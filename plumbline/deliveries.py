"""Which deliveries of a partition count: too late, ahead of their time, or seen before (design section 2)."""

import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from plumbline.acceptance import ACCEPTED, DUPLICATE, timeliness
from plumbline.keyspace import Keyspace
from plumbline.store_client import StoreClient

_PAIR = struct.Struct("<qq")

CLAIM = """
local held = {}
for i = 1, #KEYS do
  if redis.call('HSETNX', KEYS[i], ARGV[i], string.sub(ARGV[#ARGV], 16 * i - 15, 16 * i)) == 0 then
    held[#held + 1] = i
    held[#held + 1] = redis.call('HGET', KEYS[i], ARGV[i])
  end
end
return held
"""
"""Ids that have no claim take one; of each other (numbered from 1) the claims that it has."""

ADD_CLAIM = """
for i = 1, #KEYS do
  local pair = string.sub(ARGV[#ARGV], 16 * i - 15, 16 * i)
  local current = redis.call('HGET', KEYS[i], ARGV[i]) or ''
  local known = false
  for at = 1, #current, 16 do
    if string.sub(current, at, at + 7) == string.sub(pair, 1, 8) then known = true end
  end
  if not known then redis.call('HSET', KEYS[i], ARGV[i], current .. pair) end
end
return {}
"""


class Claim(NamedTuple):
    """An accepted delivery of an event id: until when (microseconds) later deliveries of the id are its duplicates."""

    partition: int
    event_id: bytes
    offset: int
    until_us: int


class Claims:
    """Event id -> the deliveries that claimed it, per partition of a source, kept in the online store.

    Only a smaller offset makes a delivery a duplicate, so a replay decides the same. Claims are facts about the partition
    and writing one twice changes nothing, so they need no fence; they are written before the states that rely on them.
    """

    def __init__(self, client: StoreClient, keyspace: Keyspace, source: str) -> None:
        self._client, self._keyspace, self._source = client, keyspace, source
        self._buckets: dict[int, list[tuple[int, str]]] = {}

    def decide(
        self,
        partitions: np.ndarray,
        offsets: np.ndarray,
        ids: Sequence[bytes],
        at: np.ndarray,
        created: np.ndarray,
        lateness_us: int,
    ) -> np.ndarray:
        """The verdict on each delivery, a partition's in the order of offsets; accepted ids are claimed.

        ids are empty where an event has none: such an event is never a duplicate.
        """
        verdict = timeliness(at, created, lateness_us)
        asked = [i for i in np.flatnonzero(verdict == ACCEPTED).tolist() if ids[i]]
        until = (at[asked] + lateness_us).tolist()
        claims = list(map(Claim, partitions[asked].tolist(), map(ids.__getitem__, asked), offsets[asked].tolist(), until))
        known: dict[tuple[int, bytes], list[tuple[int, int]]] = {}
        more = []
        for n, packed in sorted(self._run(CLAIM, claims)):
            claim = claims[n]
            held = known.setdefault((claim.partition, claim.event_id), list(_PAIR.iter_unpack(packed)))
            if any(offset < claim.offset and until_us >= created[asked[n]] for offset, until_us in held):
                verdict[asked[n]] = DUPLICATE
            elif all(offset != claim.offset for offset, _ in held):
                held.append((claim.offset, claim.until_us))
                more.append(claim)
        self.write(more)
        return verdict

    def write(self, claims: Sequence[Claim]) -> None:
        """Add claims; those already known stay as they are."""
        self._run(ADD_CLAIM, claims)

    def _run(self, script: str, claims: Sequence[Claim]) -> list[tuple[int, bytes]]:
        """Give each shard its claims; what the script answered of which claim."""
        by_shard: dict[int, list[int]] = {}
        keys = []
        for n, claim in enumerate(claims):
            shard, key = self._bucket(claim)
            by_shard.setdefault(shard, []).append(n)
            keys.append(key)
        calls = [
            (
                [keys[n] for n in of_shard],
                [
                    *(claims[n].event_id for n in of_shard),
                    b"".join([_PAIR.pack(claims[n].offset, claims[n].until_us) for n in of_shard]),
                ],
            )
            for of_shard in by_shard.values()
        ]
        return [
            (of_shard[number - 1], answered)
            for of_shard, answer in zip(by_shard.values(), self._client.scripts(script, calls), strict=True)
            for number, answered in zip(answer[::2], answer[1::2], strict=True)
        ]

    def _bucket(self, claim: Claim) -> tuple[int, str]:
        """Shard and key of the claims that hold an id."""
        if claim.partition not in self._buckets:
            self._buckets[claim.partition] = self._keyspace.claim_buckets(self._source, claim.partition)
        buckets = self._buckets[claim.partition]
        return buckets[zlib.crc32(claim.event_id) % len(buckets)]
