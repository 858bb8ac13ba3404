"""How far the fold and the archive are behind the topics, partition by partition."""

import json
from collections.abc import Mapping
from pathlib import Path

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from prometheus_client.parser import text_string_to_metric_families

from feature_repo.kafka_address import client_options, hosts
from feature_repo.settings import Settings
from stack import ports, processes

TOPICS = ("transactions", "labels")
Offsets = dict[int, int]


def lines(settings: Settings) -> list[str]:
    """One line a topic: records in it, lag of fold and archive in records, and their positions (last offset done)."""
    ends = topic_ends(settings)
    if ends is None:
        return [f"lag             unknown: no broker answers at {hosts(settings.kafka_bootstrap_servers)}"]
    said = []
    for topic in TOPICS:
        fold, archive = fold_positions(settings, topic), archive_positions(settings, topic)
        said.append(
            f"{topic:<16}{sum(ends[topic].values()):,} records; fold {_behind(ends[topic], fold, 'does not run')}, "
            f"archive {_behind(ends[topic], archive)}"
        )
        said.append(f"{'':<16}positions: fold {_written(fold)}, archive {_written(archive)}")
    return said


def topic_ends(settings: Settings) -> Mapping[str, Offsets] | None:
    """Offset of the next record of each partition of each topic; None when no broker answers within 3 s."""
    try:
        consumer = KafkaConsumer(**client_options(settings.kafka_bootstrap_servers), bootstrap_timeout_ms=3_000)
    except KafkaError:
        return None
    try:
        wanted = [TopicPartition(topic, p) for topic in TOPICS for p in consumer.partitions_for_topic(topic) or ()]
        found = consumer.end_offsets(wanted)
        return {topic: {tp.partition: end for tp, end in found.items() if tp.topic == topic} for topic in TOPICS}
    except KafkaError:
        return None
    finally:
        consumer.close()


def fold_positions(settings: Settings, topic: str) -> Offsets | None:
    """Last offset folded per partition, from the metrics of every running fold; None when none runs."""
    folds = [name for name in processes.names(settings.data_dir) if name.split("-")[0] == "fold"]
    pages = [
        ports.http_get(f"http://{ports.LOOPBACK}:{settings.fold_metrics_port + number}/metrics")[1]
        for number in range(len(folds))
    ]
    positions: Offsets = {}
    for sample in (sample for page in pages for family in text_string_to_metric_families(page) for sample in family.samples):
        if sample.name == "plumbline_fold_position" and sample.labels["topic"] == topic:
            partition = int(sample.labels["partition"])
            positions[partition] = max(int(sample.value), positions.get(partition, -1))
    return positions if any(pages) else None


def archive_positions(settings: Settings, topic: str) -> Offsets | None:
    """Last offset copied per partition, from the log's newest manifest; None before the first."""
    manifests = sorted(Path(settings.events_dir / topic / "_commits").glob("batch-*.json"))
    if not manifests:
        return None
    return {int(partition): end for partition, end in json.loads(manifests[-1].read_text())["end_offsets"].items()}


def _behind(ends: Offsets, positions: Offsets | None, otherwise: str = "has not begun") -> str:
    if positions is None:
        return otherwise if sum(ends.values()) else "has nothing to do"
    return f"{sum(end - 1 - positions.get(partition, -1) for partition, end in ends.items()):,} behind"


def _written(positions: Offsets | None) -> str:
    return " ".join(f"{partition}:{offset}" for partition, offset in sorted((positions or {}).items())) or "none"
