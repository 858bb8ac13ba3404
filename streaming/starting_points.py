"""From where each partition is read: the store's positions, the topic's beginning, or not at all yet."""

import logging
from collections.abc import Collection, Mapping

from kafka import KafkaConsumer, TopicPartition

log = logging.getLogger(__name__)


class NotThere(Exception):
    """The next record of a partition is not in its topic; the message says what to run."""


def starting_offset(partition: TopicPartition, resume_at: int | None, beginning: int, end: int) -> int:
    """The offset to read a partition from.

    resume_at  one after the store's position, None where the store has none
    beginning  the topic's first offset
    end        one after its last

    Raises NotThere when records between the store and the topic are gone: reading on would leave them out in silence.
    """
    where = f"{partition.topic}[{partition.partition}]"
    if resume_at is None and beginning == 0:
        return 0
    if resume_at is None:
        raise NotThere(
            f"{where}: the store has no position and the topic begins at offset {beginning}, so its first records are "
            "only in the event log. Run `make materialize`; the fold goes on from there."
        )
    if resume_at < beginning:
        raise NotThere(
            f"{where}: the store's next record is {resume_at} but the topic begins at offset {beginning}. "
            "Run `make materialize`, which installs what the event log has; the fold goes on from there."
        )
    if resume_at > end:
        raise NotThere(
            f"{where}: the store's next record is {resume_at} but the topic ends at {end}: it is not the topic that "
            "this store was filled from. Name the right KAFKA_BOOTSTRAP_SERVERS, or `make clean` to begin anew."
        )
    return resume_at


class StartingPoints:
    """The partitions that a consumer reads: it is assigned those whose next record is there, the others wait."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer
        self.waiting: dict[TopicPartition, str] = {}

    def waiting_partitions(self, topic: str) -> list[int]:
        """Partitions of a topic whose next record is not there."""
        return sorted(p.partition for p in self.waiting if p.topic == topic)

    def reading(self, topic: str) -> list[int]:
        """Partitions of a topic that are read."""
        return sorted(p.partition for p in self._consumer.assignment() if p.topic == topic)

    def start(self, topic: str, resume_at: Mapping[int, int | None]) -> dict[TopicPartition, int]:
        """Read the given partitions from the store's positions, where possible; returns where reading begins."""
        partitions = [TopicPartition(topic, partition) for partition in resume_at]
        beginnings, ends = self._consumer.beginning_offsets(partitions), self._consumer.end_offsets(partitions)
        offsets: dict[TopicPartition, int] = {}
        for partition in partitions:
            try:
                offset = starting_offset(partition, resume_at[partition.partition], beginnings[partition], ends[partition])
                offsets[partition] = self._with_letters(partition, offset, beginnings[partition])
                self.waiting.pop(partition, None)
            except NotThere as reason:
                if self.waiting.get(partition) != str(reason):
                    log.warning("%s", reason)
                self.waiting[partition] = str(reason)
        self._assign(offsets, set(partitions))
        return offsets

    def leave(self, topic: str, partitions: Collection[int]) -> None:
        """Neither read some partitions of a topic nor wait for them: they are another fold's."""
        left = {TopicPartition(topic, partition) for partition in partitions}
        self._consumer.assign([*(self._consumer.assignment() - left)])
        for partition in left:
            self.waiting.pop(partition, None)
        log.info("%s: partitions %s are another fold's now", topic, sorted(partitions))

    def stop(self, topic: str) -> list[int]:
        """Read nothing more of a topic; returns the partitions that were read."""
        stopped = self.reading(topic)
        self._consumer.assign([p for p in self._consumer.assignment() if p.topic != topic])
        return stopped

    def _with_letters(self, partition: TopicPartition, offset: int, beginning: int) -> int:
        """Where to begin so that no dead letter is left out: where materialize moved the store's positions on, no fold has
        read the records in between. The group's offset says how far one has; what the store has seen it counts no more.
        """
        read_up_to = self._consumer.committed(partition)
        return offset if read_up_to is None else max(beginning, min(offset, read_up_to))

    def _assign(self, offsets: Mapping[TopicPartition, int], asked: set[TopicPartition]) -> None:
        kept = self._consumer.assignment() - asked
        self._consumer.assign([*kept, *offsets])
        for partition, offset in offsets.items():
            self._consumer.seek(partition, offset)
            log.info("%s[%d] is read from offset %d", partition.topic, partition.partition, offset)
