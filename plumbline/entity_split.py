"""Which task evaluates which entity: hashed into buckets, and an entity with very many rows into several, by time.

All events and all entity rows of an entity meet in one bucket. A hot one has buckets of its own, one for each range of its
rows' instants; an event goes to every range that has a row which may see it.

    rows      | range 0 | range 1 | range 2          events of range 1:   [begin - reach ------ begin ---- end)
"""

from dataclasses import dataclass

import numpy as np

from plumbline.hashing import buckets

PART_ROWS = 100_000
"""Rows of an entity that one task should evaluate; one with twice as many is split."""
MOST_PARTS = 16
"""Ranges of one entity at most: each reads its events anew, as far back as the longest window reaches."""
SAMPLE = 200_000
"""Entity rows that are looked at to find the hot ones."""
FOR_EVER = 2**62
"""The reach of a view whose rows never expire."""


@dataclass(frozen=True)
class HotEntity:
    """An entity that is split: its hash, its first bucket, and the instants (microseconds) between its ranges, ascending."""

    hashed: int
    first_bucket: int
    cuts_us: tuple[int, ...]


@dataclass(frozen=True)
class EntitySplit:
    """The buckets of entity rows and events.

    others    how many buckets share the entities that are not hot
    reach_us  an event at e is seen by no row later than e + reach_us
    """

    others: int
    reach_us: int
    hot: tuple[HotEntity, ...] = ()

    @property
    def count(self) -> int:
        """How many buckets there are."""
        return self.others + sum(len(entity.cuts_us) + 1 for entity in self.hot)

    def of_rows(self, hashed: np.ndarray, at_us: np.ndarray) -> np.ndarray:
        """(n,) the bucket of each entity row, from its entity's hash and its instant."""
        places = buckets(hashed, self.others)
        for entity in self.hot:
            mine = np.flatnonzero(hashed == np.uint64(entity.hashed))
            places[mine] = entity.first_bucket + np.searchsorted(entity.cuts_us, at_us[mine], side="right")
        return places

    def of_events(self, hashed: np.ndarray, event_us: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which event goes to which bucket: positions of events, and the bucket of each; some events go to several."""
        places = buckets(hashed, self.others)
        if not self.hot:
            return np.arange(len(hashed)), places
        hot = np.isin(hashed, np.array([entity.hashed for entity in self.hot], np.uint64))
        taken = [np.flatnonzero(~hot)]
        wanted = [places[taken[0]]]
        for entity in self.hot:
            mine = np.flatnonzero(hashed == np.uint64(entity.hashed))
            for part, seen in enumerate(self._seen(entity, event_us[mine])):
                taken.append(mine[seen])
                wanted.append(np.full(len(taken[-1]), entity.first_bucket + part))
        return np.concatenate(taken), np.concatenate(wanted)

    @staticmethod
    def homes(count: int, taken: np.ndarray, places: np.ndarray) -> np.ndarray:
        """(count,) a number for the buckets that of_events sends each event to, the same where all of them are the same."""
        first, last = np.zeros(count, np.int64), np.zeros(count, np.int64)
        first[taken[::-1]], last[taken] = places[::-1], places  # ranges are neighbours, in order
        return first << 32 | last

    def _seen(self, entity: HotEntity, event_us: np.ndarray) -> list[np.ndarray]:
        """For each range of an entity, which of its events some row of the range may see."""
        begins = np.array([-FOR_EVER, *entity.cuts_us])
        ends = np.array([*entity.cuts_us, FOR_EVER])
        return [
            (event_us < end) & (event_us >= max(begin - self.reach_us, -FOR_EVER))
            for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)
        ]


def split_of(hashed: np.ndarray, at_us: np.ndarray, rows: int, others: int, reach_us: int) -> EntitySplit:
    """The split for `rows` entity rows of which hashes and instants of an even sample are given."""
    entities, held = np.unique(hashed, return_counts=True)
    estimates = held * (rows / max(len(hashed), 1))
    first, hot = others, []
    for number in np.flatnonzero(estimates >= 2 * PART_ROWS):
        parts = min(MOST_PARTS, round(estimates[number] / PART_ROWS))
        instants = np.sort(at_us[hashed == entities[number]])
        cuts = np.unique(instants[np.arange(1, parts) * len(instants) // parts])
        hot.append(HotEntity(int(entities[number]), first, tuple(cuts.tolist())))
        first += len(cuts) + 1
    return EntitySplit(others, reach_us, tuple(hot))
