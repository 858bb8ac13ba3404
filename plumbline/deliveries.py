"""Which deliveries of a partition count: too late, ahead of their time, or seen before (design section 2)."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from plumbline.durations import MINUTE
from plumbline.keyspace import Keyspace
from plumbline.store_client import CLAIM, StoreClient

AHEAD_US = 5 * MINUTE
"""An event further ahead of its append time than this is refused."""

_PAIR = struct.Struct("<qq")

ACCEPTED, DUPLICATE, TOO_LATE, REFUSED = 0, 1, 2, 3


def timeliness(at: np.ndarray, created: np.ndarray, allowed_lateness_us: int) -> np.ndarray:
    """ACCEPTED, TOO_LATE or REFUSED for each delivery, by its times alone (microseconds)."""
    verdict = np.full(len(at), ACCEPTED, dtype=np.int8)
    verdict[created - at > allowed_lateness_us] = TOO_LATE
    verdict[at - created > AHEAD_US] = REFUSED
    return verdict


@dataclass(frozen=True)
class Claim:
    """An accepted delivery of an event id: until when (microseconds) later deliveries of the id are its duplicates."""

    offset: int
    until_us: int


class Claims:
    """Event id -> the deliveries that claimed it, per partition of a source, kept in the online store.

    Only a smaller offset makes a delivery a duplicate, so a replay decides the same. Claims are facts about the partition
    and writing one twice changes nothing, so they need no fence; they are written before the states that rely on them.
    """

    def __init__(self, client: StoreClient, keyspace: Keyspace, source: str) -> None:
        self._client, self._keyspace, self._source = client, keyspace, source

    def decide(
        self,
        partition: int,
        offsets: np.ndarray,
        ids: Sequence[bytes],
        at: np.ndarray,
        created: np.ndarray,
        lateness_us: int,
    ) -> np.ndarray:
        """The verdict on each delivery of one partition, in the order of offsets; accepted ids are claimed.

        ids are empty where an event has none: such an event is never a duplicate.
        """
        verdict = timeliness(at, created, lateness_us)
        known = self._known(partition, {ids[i] for i in np.flatnonzero(verdict == ACCEPTED).tolist() if ids[i]})
        new: list[tuple[bytes, Claim]] = []
        for i in np.flatnonzero(verdict == ACCEPTED).tolist():
            event_id, offset = ids[i], int(offsets[i])
            if not event_id:
                continue
            claims = known.setdefault(event_id, [])
            if any(claim.offset < offset and claim.until_us >= created[i] for claim in claims):
                verdict[i] = DUPLICATE
            elif all(claim.offset != offset for claim in claims):
                claims.append(Claim(offset, int(at[i]) + lateness_us))
                new.append((event_id, claims[-1]))
        self.write(partition, new)
        return verdict

    def write(self, partition: int, claims: Iterable[tuple[bytes, Claim]]) -> None:
        """Add claims; those already known stay as they are."""
        by_shard: dict[int, tuple[list[str], list[bytes]]] = {}
        for event_id, claim in claims:
            shard, key = self._keyspace.claims(self._source, partition, event_id)
            keys, arguments = by_shard.setdefault(shard, ([], []))
            keys.append(key)
            arguments += [event_id, _PAIR.pack(claim.offset, claim.until_us)]
        self._client.scripts(CLAIM, list(by_shard.values()))

    def _known(self, partition: int, ids: set[bytes]) -> dict[bytes, list[Claim]]:
        ordered = sorted(ids)
        places = [self._keyspace.claims(self._source, partition, event_id) for event_id in ordered]
        answers = self._client.fields([key for _, key in places], ordered, [shard for shard, _ in places])
        return {
            event_id: [Claim(*pair) for pair in _PAIR.iter_unpack(packed)]
            for event_id, packed in zip(ordered, answers, strict=True)
            if packed
        }
