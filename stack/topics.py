"""The platform's topics, created where they are missing and never changed where they are not."""

import time
from contextlib import suppress

from kafka import errors
from kafka.admin import KafkaAdminClient

from feature_repo.kafka_address import client_options

TOPICS = ("transactions", "labels", "transactions.dead-letter", "decisions", "alerts")
PARTITIONS = 4
CONFIGS = {"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"}
"""The broker's clock says when an event became known, and a topic keeps everything: the log can be rebuilt from it."""


def create_missing(bootstrap_servers: str, *, within_s: float = 30.0) -> list[str]:
    """Create the topics that are not there yet, with the broker's default replication; returns their names.

    Asks until the broker answers, at most `within_s` seconds; then raises kafka.errors.KafkaError.
    """
    admin = _connected(bootstrap_servers, time.monotonic() + within_s)
    try:
        missing = [topic for topic in TOPICS if topic not in admin.list_topics()]
        for topic in missing:
            _create(admin, topic)
        return missing
    finally:
        admin.close()


def recreate(bootstrap_servers: str) -> None:
    """Delete the topics with everything in them and create them anew; for tests and for nothing else."""
    admin = _connected(bootstrap_servers, time.monotonic() + 30.0)
    try:
        admin.delete_topics([topic for topic in TOPICS if topic in admin.list_topics()])
        while not set(TOPICS).isdisjoint(admin.list_topics()):  # deleted, and not yet unknown to the broker that answers
            time.sleep(0.05)
    finally:
        admin.close()
    create_missing(bootstrap_servers)


def _create(admin: KafkaAdminClient, topic: str) -> None:
    with suppress(errors.TopicAlreadyExistsError):  # somebody else was first, with the same intent
        admin.create_topics({topic: {"num_partitions": PARTITIONS, "configs": CONFIGS}}, wait_for_metadata=True)


def _connected(bootstrap_servers: str, deadline: float) -> KafkaAdminClient:
    while True:
        try:
            return KafkaAdminClient(**client_options(bootstrap_servers), client_id="plumbline-topics")
        except errors.KafkaError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
