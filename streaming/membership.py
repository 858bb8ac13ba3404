"""Which partitions are this fold's: its share of the topics, as Kafka's consumer group deals them out.

Membership runs on a thread and a connection of its own, so that a long batch or a store that is away costs no fold its
share, and a rebalance holds nobody up: a fold goes on with what it had until it is told otherwise. Two folds that read one
partition for that moment are told apart by the positions in the store.
"""

import contextlib
import logging
import threading
from collections.abc import Collection, Mapping

from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError

from feature_repo.kafka_address import client_options
from streaming.patience import Patience

SESSION_TIMEOUT_MS = 6_000
"""After so long without a sign of life a fold's partitions go to the others: the least that a broker allows by default."""

HEARTBEAT_MS = 1_500
POLL_MS = 500
METADATA_MAX_AGE_MS = 5_000
"""How soon a partition added to a topic is noticed."""

PAUSE_AFTER_FAILURE_S = 1.0
JOIN_WITHIN_S = 5.0

log = logging.getLogger(__name__)


class Membership:
    """A member of the folds' group for as long as it is open; its offsets say how far the folds have read."""

    def __init__(self, bootstrap_servers: str, group: str, topics: Collection[str]) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._owned: frozenset[TopicPartition] = frozenset()
        self.has_joined = False
        self._folded: dict[TopicPartition, int] = {}
        self._consumer = KafkaConsumer(
            **client_options(bootstrap_servers),
            group_id=group,
            enable_auto_commit=False,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
            reconnect_backoff_max_ms=2_000,
            allow_auto_create_topics=False,
        )
        self._consumer.subscribe(list(topics), listener=_Dealt(self))
        self._thread = threading.Thread(target=self._run, name="membership", daemon=True)
        self._thread.start()

    def partitions(self, topic: str) -> set[int]:
        """The partitions of a topic that are this fold's now."""
        return {owned.partition for owned in self._owned if owned.topic == topic}

    def report(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        """Commit soon, as the group's offsets, one after the last record folded: all dead letters before it are written."""
        with self._lock:
            self._folded = dict(next_offsets)

    def close(self) -> None:
        """Leave the group, so that the others take over at once."""
        self._stop.set()
        self._thread.join(JOIN_WITHIN_S)

    def dealt(self, partitions: Collection[TopicPartition]) -> None:
        """The group has dealt these partitions; none of them is fetched by this connection."""
        self._consumer.pause(*partitions)
        if partitions != self._owned:
            log.info("this fold's partitions: %s", ", ".join(f"{topic}[{n}]" for topic, n in sorted(partitions)) or "none")
        self._owned, self.has_joined = frozenset(partitions), True

    def _run(self) -> None:
        patience = Patience(self._stop)
        while not self._stop.is_set():
            try:
                self._consumer.poll(timeout_ms=POLL_MS)
                self._commit()
            except KafkaError as error:
                log.warning("consumer group: %r; it is joined again", error)
                patience.pause(PAUSE_AFTER_FAILURE_S)
        with contextlib.suppress(KafkaError):
            self._commit()
            self._consumer.close(autocommit=False, timeout_ms=round(1000 * JOIN_WITHIN_S))

    def _commit(self) -> None:
        with self._lock:
            folded, self._folded = self._folded, {}
        own = {p: OffsetAndMetadata(offset, "", -1) for p, offset in folded.items() if p in self._owned}
        if own:
            self._consumer.commit_async(own)


class _Dealt(ConsumerRebalanceListener):
    """Tells a membership what it was dealt; what is taken away stays its own until the next deal."""

    def __init__(self, membership: Membership) -> None:
        self._membership = membership

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Nothing: the fences make a late batch harmless."""

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._membership.dealt(set(assigned))
