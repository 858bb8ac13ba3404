"""Where every record of a topic went: produced = folded + duplicates + too late + dead."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from kafka import KafkaConsumer, TopicPartition

from feature_repo.kafka_address import client_options
from plumbline import Fold
from plumbline.event_log import judged_events
from plumbline.log_rows import Reading
from plumbline.log_times import int64_values, valid_mask
from streaming.event_topics import EventTopic
from streaming.letter_file import Letter
from streaming.topic_records import records


@dataclass(frozen=True)
class Reconciliation:
    """The records of a topic up to where both fold and archive have come, by what became of them.

    unread     records after that point
    too_late   rows of the log that came too late; `late_letters` are the dead letters that say so
    """

    topic: str
    produced: int
    folded: int
    duplicates: int
    too_late: int
    dead: int
    late_letters: int
    unread: int

    @property
    def unaccounted(self) -> int:
        """Records that are in none of the four (or in two of them, where negative); must be 0."""
        return self.produced - self.folded - self.duplicates - self.too_late - self.dead

    @property
    def adds_up(self) -> bool:
        return self.unaccounted == 0 and self.late_letters == self.too_late

    def __str__(self) -> str:
        said = (
            f"{self.topic}: {self.produced:,} produced = {self.folded:,} folded + {self.duplicates:,} duplicates + "
            f"{self.too_late:,} too late + {self.dead:,} dead"
        )
        if self.unaccounted:
            said += f"; {self.unaccounted:,} are unaccounted for"
        if self.late_letters != self.too_late:
            said += f"; {self.late_letters:,} dead letters speak of too late ones"
        return f"{said}; {self.unread:,} not read by fold and archive yet" if self.unread else said


def reconcile(
    topic: EventTopic, fold: Fold, bootstrap_servers: str, log_ends: Mapping[int, int], letters: Iterable[Letter]
) -> Reconciliation:
    """Count a topic's records; fold and archive may be running.

    fold      asked how far the online store has come; nothing is folded
    log_ends  partition -> last offset by the newest manifest, taken before the letters were read
    """
    begins, ends = _bounds(bootstrap_servers, topic.name)
    resume_at = fold.resume(list(ends))
    reached = {p: min((resume_at[p] or 0) - 1, log_ends.get(p, -1)) for p in ends}
    folded, duplicates, too_late = _rows(fold, reached)
    of_topic = [
        each
        for each in letters
        if each.place.topic == topic.name and each.place.offset <= reached.get(each.place.partition, -1)
    ]
    late_letters = sum(letter.is_too_late for letter in of_topic)
    counted = Reconciliation(
        topic=topic.name,
        produced=sum(max(0, reached[p] + 1 - begins[p]) for p in ends),
        folded=folded,
        duplicates=duplicates,
        too_late=too_late,
        dead=len(of_topic) - late_letters,
        late_letters=late_letters,
        unread=sum(end - max(begins[p], reached[p] + 1) for p, end in ends.items()),
    )
    return counted if not (counted.unaccounted or counted.unread) else _by_records(counted, bootstrap_servers, reached, ends)


def _by_records(
    counted: Reconciliation, bootstrap_servers: str, reached: Mapping[int, int], ends: Mapping[int, int]
) -> Reconciliation:
    """The same with the topic's records counted one by one: a transaction leaves offsets that are no record."""
    produced = unread = 0
    for record in records(bootstrap_servers, counted.topic):
        if record.offset <= reached.get(record.partition, -1):
            produced += 1
        elif record.offset < ends.get(record.partition, 0):
            unread += 1
    return replace(counted, produced=produced, unread=unread)


def _bounds(bootstrap_servers: str, topic: str) -> tuple[dict[int, int], dict[int, int]]:
    """First offset and end of each partition."""
    with KafkaConsumer(**client_options(bootstrap_servers)) as consumer:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        begins, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
    return {p.partition: begin for p, begin in begins.items()}, {p.partition: end for p, end in ends.items()}


def _rows(fold: Fold, reached: Mapping[int, int]) -> tuple[int, int, int]:
    """Streamed rows of the log up to the given offsets: accepted, duplicates, too late."""
    table, judgement = judged_events(fold.source, Reading((), ()))
    counts, partitions = judgement(), int64_values(table["source_partition"])
    ends = np.full(table.num_rows, -2)
    for partition, end in reached.items():
        ends[partitions == partition] = end
    streamed = valid_mask(table["source_partition"]) & (int64_values(table["source_offset"]) <= ends)
    late_us = int64_values(table["created_timestamp"]) - int64_values(table["event_timestamp"])
    late = streamed & (late_us > fold.source.allowed_lateness_us)
    return int((streamed & counts).sum()), int((streamed & ~counts & ~late).sum()), int(late.sum())
