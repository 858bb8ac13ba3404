"""Reads while everything falls over: each answer is kept with its positions, to be compared with the definition later."""

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from plumbline import Answer, AsOfTooOld, FeatureStore, StoreUnavailable

PAUSE_S = 0.05
AGAIN_AFTER_S = 0.5
HOURS_AHEAD = (0.1, 1, 5, 24, 24 * 7)


@dataclass(frozen=True)
class Seen:
    """What one online read answered about one entity of one view."""

    view: str
    entity: dict[str, str]
    answer: Answer


class Witness:
    """Reads random entities of random views at instants from four minutes ago to a week ahead, on a thread of its own."""

    def __init__(self, store: FeatureStore, seed: int, users: int) -> None:
        self._store, self._random, self._users = store, random.Random(seed), users
        self._views = store.list_stream_feature_views()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="witness", daemon=True)
        self.seen: list[Seen] = []
        self.unanswered: Counter[str] = Counter()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(PAUSE_S):
            view = self._random.choice(self._views)
            entities = [{name: self._draw(name) for name in view.join_keys} for _ in range(5)]
            features = [f"{view.name}:{aggregation.name}" for aggregation in view.aggregations]
            try:
                answers = self._store.read_online(features, entities, self._instant())
            except (StoreUnavailable, AsOfTooOld) as away:
                self.unanswered[type(away).__name__] += 1
                time.sleep(AGAIN_AFTER_S)
                continue
            self.seen += [Seen(view.name, entity, answer) for entity, answer in zip(entities, answers, strict=True)]

    def _instant(self) -> datetime:
        now = datetime.now(UTC)
        chance = self._random.random()
        if chance < 0.4:
            return now
        if chance < 0.7:
            return now - timedelta(seconds=240 * self._random.random())
        return now + timedelta(hours=self._random.choice(HOURS_AHEAD))

    def _draw(self, join_key: str) -> str:
        user = int(self._users * self._random.random() ** 3)
        if join_key == "user_id":
            return f"u{user}"
        if join_key == "merchant_id":
            return f"m{self._random.choice([0, self._random.randrange(300)])}"
        return f"d{user % 1000}-{self._random.randrange(2)}"
