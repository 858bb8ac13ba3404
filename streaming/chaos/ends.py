"""How far every view and both logs are behind the topics."""

from kafka import KafkaConsumer, TopicPartition

from feature_repo.settings import Settings
from plumbline import FeatureStore
from streaming import manifests
from streaming.event_topics import EVENT_TOPICS


def behind(store: FeatureStore, settings: Settings) -> dict[str, int]:
    """Records left, by "<view> <topic>[<partition>]" and "log <topic>[<partition>]"; only those that are behind."""
    ends = last_offsets(settings.kafka_bootstrap_servers)
    left: dict[str, int] = {}
    for view in store.list_stream_feature_views():
        positions = store.positions(view.name)
        topic = view.stream_source.name
        left |= {f"{view.name} {topic}[{p}]": end - positions.get(p, -1) for p, end in ends[topic].items()}
    for topic in EVENT_TOPICS:
        archived = manifests.committed(topic.log_path(settings))
        left |= {f"log {topic.name}[{p}]": end - archived.get(p, -1) for p, end in ends[topic.name].items()}
    return {place: count for place, count in left.items() if count}


def last_offsets(bootstrap_servers: str) -> dict[str, dict[int, int]]:
    """Offset of the last record of every partition that has one, by topic."""
    with KafkaConsumer(bootstrap_servers=bootstrap_servers) as consumer:
        found: dict[str, dict[int, int]] = {}
        for topic in EVENT_TOPICS:
            partitions = [TopicPartition(topic.name, number) for number in consumer.partitions_for_topic(topic.name)]
            ends = consumer.end_offsets(partitions)
            found[topic.name] = {partition.partition: end - 1 for partition, end in ends.items() if end}
        return found
