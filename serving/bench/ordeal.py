"""A whole stack for the troubles: broker, store, registry and service, each a process that can be killed and comes back."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from kafka import KafkaConsumer, TopicPartition

from feature_repo.kafka_address import client_options
from feature_repo.settings import PROJECT_ROOT, Settings
from serving.bench.running import await_ready, end, environment, free_port, run_module, sent
from serving.bench.world import SERVICES, World, applied_store, bodies, push, write_models
from serving.champions import ALIAS
from serving.topic import TOPIC

CAPACITY_RATE = 3_000.0
AWAY_S = 2.0
"""How long a part that was killed stays away."""


class Ordeal:
    """Begun once, ended on leaving; `folder` is the data directory of everything."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        kafka = free_port()
        self._environment = {
            **environment(),
            "DATA_DIR": str(folder),
            "KAFKA_BOOTSTRAP_SERVERS": "",
            "REDIS_CONNECTION_STRING": "",
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
            "KAFKA_PORT": str(kafka),
            "REDIS_PORT": str(free_port()),
            "API_PORT": str(self._port),
            "API_KEYS": "",
            "API_KEYS_FILE": "",
        }
        self._settings = Settings.from_env(self._environment)
        self._service: subprocess.Popen[bytes] | None = None
        self._answered: set[str] = set()

    def __enter__(self) -> "Ordeal":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._service is not None:
                end(self._service)
        finally:
            self._run("stack.stop")

    def begin(self, history: list[dict[str, Any]]) -> None:
        """Start everything, with these events in the store and a champion of each name."""
        self._run("stack.embedded")
        store = applied_store(self._settings)
        push(store, history)
        write_models(self._folder / "bench-models", store)
        self.promote()
        log = self._folder / "service.log"
        with log.open("w") as output:
            command = [sys.executable, "-m", "serving"]
            self._service = subprocess.Popen(command, stdout=output, stderr=output, env=self._environment, cwd=PROJECT_ROOT)
        await_ready(self._service, self._port, "readyz", log)

    def promote(self) -> None:
        """Register another version of every model and make it champion."""
        self._run("serving.bench.registry", str(self._folder / "bench-models"), ALIAS, *SERVICES)

    def restart(self, part: str) -> None:
        """Kill a part without warning, and start it again after a while by the project's own command."""
        psutil.Process(int((self._folder / "run" / f"{part}.pid").read_text())).kill()
        time.sleep(AWAY_S)
        self._run("stack.embedded")

    def load(self, world: World, rate: float, seconds: float) -> dict[str, Any]:
        """An open loop of requests about users' accounts: statuses, and every answer."""
        result = sent(self._port, rate, seconds, bodies(world, with_transaction=False), keep=1)
        answers = (json.loads(text) for _, text in result["kept"])
        self._answered |= {answer["request_id"] for answer in answers if "score" in answer}
        return result

    def capacity(self, world: World) -> float:
        """Requests a second that are answered with 200 when far more come."""
        result = self.load(world, CAPACITY_RATE, 3.0)
        return max(50.0, result["status"].count(200) / 3.0)

    def unlogged(self, within_s: float = 60.0) -> tuple[int, int]:
        """How many answers are not in the topic when all are or the time is over; and how many of these not in the spool
        either: they are lost.
        """
        deadline = time.monotonic() + within_s
        while (lacking := self._answered - self._spooled() - self._logged()) and time.monotonic() < deadline:
            time.sleep(1.0)
        return len(self._answered - self._logged()), len(lacking)

    def _spooled(self) -> set[str]:
        spool = self._folder / "spool" / "decisions.jsonl"
        whole = spool.read_bytes().rpartition(b"\n")[0] if spool.exists() else b""
        return {json.loads(line)["request_id"] for line in whole.splitlines()}

    def _logged(self) -> set[str]:
        options: dict[str, Any] = client_options(self._settings.kafka_bootstrap_servers)
        consumer = KafkaConsumer(**options, consumer_timeout_ms=2_000, enable_auto_commit=False)
        try:
            partitions = [TopicPartition(TOPIC, number) for number in consumer.partitions_for_topic(TOPIC) or ()]
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            return {json.loads(record.value)["request_id"] for record in consumer}
        finally:
            consumer.close()

    def _run(self, module: str, *arguments: str) -> None:
        run_module(self._environment, module, *arguments)
