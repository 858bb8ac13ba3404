"""The folds of the event topics, opened again when `make apply` changed the views over them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from feast.errors import PushSourceNotFoundException

from plumbline import FeatureStore, Fold
from streaming.event_topics import EVENT_TOPICS, EventTopic

NEVER_LOOKED = -1

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """An event topic and the fold of its events into every online view over it."""

    topic: EventTopic
    fold: Fold

    @property
    def lateness_us(self) -> int:
        return self.fold.source.allowed_lateness_us

    def definitions(self) -> list[str]:
        return [layout.spec.definition_hash for layout in self.fold.layouts]


class Sources:
    """The sources by topic name; a topic that no applied view reads is not among them."""

    def __init__(self, store: FeatureStore, topics: Sequence[EventTopic] = EVENT_TOPICS) -> None:
        self._store, self._topics = store, topics
        self._registry = Path(store.config.registry.path)
        self._applied_at: int | None = NEVER_LOOKED
        self.by_topic: dict[str, Source] = {}

    def changed(self) -> list[str]:
        """Topics whose applied views are not those of the last call; their sources are newly opened, or gone."""
        applied_at = self._registry.stat().st_mtime_ns if self._registry.exists() else None
        if applied_at == self._applied_at:
            return []
        self._applied_at = applied_at
        found = {topic.name: source for topic in self._topics if (source := self._open(topic))}
        if not found:
            log.warning("no view over a topic is applied, so there is nothing to fold: run `make apply`")
        known = {name for name, source in found.items() if self._is_known(name, source)}
        gone_or_new = sorted((found.keys() | self.by_topic.keys()) - known)
        self.by_topic = {name: self.by_topic[name] if name in known else source for name, source in found.items()}
        return gone_or_new

    def _is_known(self, name: str, source: Source) -> bool:
        return name in self.by_topic and self.by_topic[name].definitions() == source.definitions()

    def _open(self, topic: EventTopic) -> Source | None:
        try:
            return Source(topic, self._store.fold(topic.name))
        except PushSourceNotFoundException:
            return None
