"""The records that a topic holds now, read from a beginning or from a time."""

from collections.abc import Generator
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from feature_repo.kafka_address import client_options

POLL_MS = 500
ANSWERS_WITHIN_MS = 5_000


def records(bootstrap_servers: str, topic: str, since_ms: int | None = None) -> Generator[Any, None, None]:
    """The committed records of a topic by now, in order within a partition; with since_ms those appended from then on.

    since_ms  milliseconds since the epoch

    Raises kafka.errors.KafkaError when no broker answers.
    """
    with KafkaConsumer(
        **client_options(bootstrap_servers),
        enable_auto_commit=False,
        bootstrap_timeout_ms=ANSWERS_WITHIN_MS,
        isolation_level="read_committed",
    ) as consumer:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        ends = consumer.end_offsets(partitions)
        starts = starting_at(consumer, partitions, since_ms)
        consumer.assign(partitions)
        for partition, start in starts.items():
            consumer.seek(partition, start)
        while any(consumer.position(partition) < end for partition, end in ends.items()):
            for polled in consumer.poll(timeout_ms=POLL_MS).values():
                yield from polled


def starting_at(consumer: KafkaConsumer, partitions: list[TopicPartition], since_ms: int | None) -> dict[TopicPartition, int]:
    """The first offset of each partition that was appended at since_ms or later; of all where that is None."""
    if since_ms is None:
        return dict(consumer.beginning_offsets(partitions))
    ends = consumer.end_offsets(partitions)
    found = consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
    return {partition: at.offset if (at := found[partition]) else ends[partition] for partition in partitions}
