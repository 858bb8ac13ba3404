"""`python -m pipelines.prove --request-id ID`: is a logged answer what the event log says it must be?"""

import argparse
import json
import logging
import sys
import time
from dataclasses import asdict
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from feature_repo import open_store
from feature_repo.kafka_address import client_options
from feature_repo.settings import Settings
from pipelines.recompute import Compared, NotYetInLogError, UnverifiableError, compare

DECISIONS = "decisions"
LOOK_EVERY_S = 0.5


class NoSuchAnswerError(RuntimeError):
    """The topic `decisions` does not hold the request."""


def logged_answer(bootstrap_servers: str, request_id: str, deadline: float) -> dict[str, Any]:
    """The record of topic `decisions` of a request, waited for until `deadline` (time.monotonic())."""
    consumer = KafkaConsumer(**client_options(bootstrap_servers), enable_auto_commit=False)
    try:
        partitions = [TopicPartition(DECISIONS, number) for number in consumer.partitions_for_topic(DECISIONS) or ()]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        while time.monotonic() < deadline:
            for records in consumer.poll(timeout_ms=500).values():
                for record in records:
                    if request_id.encode() in record.value and json.loads(record.value)["request_id"] == request_id:
                        return json.loads(record.value)
    finally:
        consumer.close()
    raise NoSuchAnswerError(f"Topic `{DECISIONS}` holds no answer with request_id {request_id}.")


def proved(settings: Settings, request_id: str, within_s: float) -> list[Compared]:
    """compare() of a logged answer, once the archive has written what it rests on; waits `within_s` seconds at most."""
    deadline = time.monotonic() + within_s
    answer = logged_answer(settings.kafka_bootstrap_servers, request_id, deadline)
    store = open_store(settings)
    while True:
        try:
            return compare(store, answer)
        except NotYetInLogError:
            if time.monotonic() > deadline:
                raise
            time.sleep(LOOK_EVERY_S)


def main() -> int:
    """Print the comparison as JSON; 0 when nothing differs, 1 when something does, 2 when it cannot be told."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.prove", description=__doc__)
    parser.add_argument("--request-id", required=True, help="of an answer of POST /v1/score")
    parser.add_argument("--within", type=float, default=60.0, help="seconds to wait for the archive (default %(default)s)")
    arguments = parser.parse_args()
    logging.captureWarnings(True)  # Feast calls every view an experiment; stderr is for what went wrong
    try:
        compared = proved(Settings.from_env(), arguments.request_id, arguments.within)
    except (NoSuchAnswerError, NotYetInLogError, UnverifiableError, KafkaError) as problem:
        print(f"prove: {problem}", file=sys.stderr)
        return 2
    print(json.dumps([asdict(feature) for feature in compared], default=str))
    return 0 if all(feature.equal for feature in compared) else 1


if __name__ == "__main__":
    sys.exit(main())
