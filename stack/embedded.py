"""The embedded parts, started where they are missing: `make up`."""

import argparse
import sys

from kafka.errors import KafkaError

from feature_repo import kafka_address
from feature_repo.settings import Settings
from stack import kafka_broker, mlflow_server, processes, redis_server, topics
from stack.java import NoJava
from stack.ports import PortTaken
from stack.processes import NotStarted, Program

PARTS = ("redis", "kafka", "mlflow")
NOT_WAITED_FOR = ("mlflow",)


def programs(settings: Settings) -> dict[str, Program]:
    """The parts that are embedded, that is, whose address the user did not name; in the order they are started."""
    made = {}
    if settings.embedded_redis:
        made["redis"] = redis_server.program(settings)
    if settings.embedded_kafka:
        made["kafka"] = kafka_broker.program(settings)
    if settings.embedded_mlflow:
        made["mlflow"] = mlflow_server.program(settings)
    return made


def addresses(settings: Settings) -> dict[str, tuple[str, str]]:
    """Address of each part, embedded or the user's own, and the setting that names the user's own."""
    return {
        "redis": (settings.redis_connection_string.partition(",")[0], "REDIS_CONNECTION_STRING"),
        "kafka": (kafka_address.hosts(settings.kafka_bootstrap_servers), "KAFKA_BOOTSTRAP_SERVERS"),
        "mlflow": (settings.mlflow_tracking_uri, "MLFLOW_TRACKING_URI"),
    }


def bring_up(settings: Settings, *, wait_for_mlflow: bool = False) -> None:
    """Start whichever embedded part is missing and create missing topics, also on a broker of the user's own.

    Returns when Kafka and Redis answer. MLflow, which takes half a minute, is only waited for when asked.
    Raises ports.PortTaken, processes.NotStarted, java.NoJava or kafka.errors.KafkaError.
    """
    parts = programs(settings)
    started = {name for name, program in parts.items() if processes.start(program, settings.data_dir)}
    for name, program in parts.items():
        if wait_for_mlflow or name not in NOT_WAITED_FOR:
            processes.await_ready(program, settings.data_dir)
    created = topics.create_missing(settings.kafka_bootstrap_servers)
    for name, (address, setting) in addresses(settings).items():
        print(_line(name, address, setting, parts.get(name), name in started, settings))
    if created:
        print(f"topics created: {', '.join(created)}")


def _line(name: str, address: str, setting: str, program: Program | None, now: bool, settings: Settings) -> str:
    if program is None:
        return f"{name:<8}{address:<28}yours ({setting})"
    said = "starting" if now and name in NOT_WAITED_FOR else "started" if now else "runs already"
    return f"{name:<8}{address:<28}{said}, log {processes.log_path(name, settings.data_dir)}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stack.embedded", description=__doc__)
    parser.add_argument("--wait-for-mlflow", action="store_true", help="return only when MLflow answers too")
    arguments = parser.parse_args()
    try:
        bring_up(Settings.from_env(), wait_for_mlflow=arguments.wait_for_mlflow)
    except (PortTaken, NotStarted, NoJava, ValueError) as problem:
        sys.exit(f"make up: {problem}")
    except KafkaError as problem:
        sys.exit(f"make up: the broker at KAFKA_BOOTSTRAP_SERVERS does not answer as a broker: {problem!r}")


if __name__ == "__main__":
    main()
