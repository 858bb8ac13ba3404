"""Topics as the stream needs them: all there, stamped by the broker, and room among the dead letters."""

import logging

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from feature_repo.kafka_address import client_options, hosts
from streaming.event_topics import DEAD_LETTER, EVENT_TOPICS

HEADERS_BYTES = 64 * 1024

log = logging.getLogger(__name__)


class TopicRefused(RuntimeError):
    """A topic that the stream must not read; the message says what to change."""


def require_topics(bootstrap_servers: str) -> None:
    """Return when the topics exist and the event topics' record times are the broker's own.

    The dead-letter topic is made to take a value as large as any event's, with its headers.
    Raises TopicRefused naming the topic and the command; kafka.errors.KafkaError when no broker answers.
    """
    names = [*(topic.name for topic in EVENT_TOPICS), DEAD_LETTER]
    with KafkaAdminClient(**client_options(bootstrap_servers)) as admin:
        missing = sorted(set(names) - set(admin.list_topics()))
        if missing:
            raise TopicRefused(f"Kafka at {hosts(bootstrap_servers)} lacks topics {', '.join(missing)}. `make up` makes them.")
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        configs = admin.describe_configs(resources, config_filter="all")["topic"]
        for topic in EVENT_TOPICS:
            _require_append_time(topic.name, configs[topic.name]["message.timestamp.type"]["value"])
        _make_room(admin, {name: int(configs[name]["max.message.bytes"]["value"]) for name in names})


def _make_room(admin: KafkaAdminClient, largest: dict[str, int]) -> None:
    needed = max(largest[topic.name] for topic in EVENT_TOPICS) + HEADERS_BYTES
    if largest[DEAD_LETTER] < needed:
        larger = ConfigResource(ConfigResourceType.TOPIC, DEAD_LETTER, {"max.message.bytes": str(needed)})
        answer = admin.alter_configs([larger])["topic"][DEAD_LETTER]
        if answer != "OK":
            log.warning("%s: values above %d bytes are left out (%s)", DEAD_LETTER, largest[DEAD_LETTER], answer)


def _require_append_time(topic: str, stamped_by: str) -> None:
    if stamped_by != "LogAppendTime":
        raise TopicRefused(
            f"Topic '{topic}' has message.timestamp.type={stamped_by}: its times are its producers' own, so what was "
            "known when would be their word. Run `kafka-configs.sh --bootstrap-server ... --alter --entity-type topics "
            f"--entity-name {topic} --add-config message.timestamp.type=LogAppendTime` before producing to it."
        )
