"""The embedded Kafka broker: one KRaft node from the pinned jars, on loopback, its log under the data directory."""

import base64
import subprocess
import uuid
from pathlib import Path

from feature_repo.settings import PROJECT_ROOT, Settings
from stack import ports
from stack.java import java
from stack.processes import NotStarted, Program

BROKER_JARS = PROJECT_ROOT / ".parts" / "jars" / "broker"

SERVER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={log_dir}
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""

LOG4J2_PROPERTIES = """\
status=warn
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{yyyy-MM-dd'T'HH:mm:ss.SSSX}{UTC} %p %c{1} %m%n
rootLogger.level=info
rootLogger.appenderRef.out.ref=out
"""


def program(settings: Settings) -> Program:
    """The broker on KAFKA_PORT, its controller on the next port; formats its storage before the first start.

    Raises NotStarted when its jars are missing; starting it does when the storage cannot be formatted.
    """
    home = settings.data_dir / "kafka"
    return Program(
        name="kafka",
        command=_java(home, "-Xmx512m", "kafka.Kafka", str(home / "server.properties")),
        prepare=lambda: _prepare(home, settings.kafka_port),
        ready=lambda: ports.accepts(settings.kafka_port),
        ports={settings.kafka_port: "KAFKA_PORT", settings.kafka_port + 1: "KAFKA_PORT"},
    )


def _prepare(home: Path, port: int) -> None:
    properties = _configure(home, port)
    if not (home / "log" / "meta.properties").exists():
        _format(properties)


def _configure(home: Path, port: int) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    (home / "log4j2.properties").write_text(LOG4J2_PROPERTIES)
    properties = home / "server.properties"
    properties.write_text(SERVER_PROPERTIES.format(port=port, controller_port=port + 1, log_dir=home / "log"))
    return properties


def _format(properties: Path) -> None:
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    command = _java(properties.parent, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "-c", str(properties))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotStarted(f"The broker's storage under {properties.parent} could not be formatted: {done.stderr.strip()}")


def _java(home: Path, *arguments: str) -> list[str]:
    if not any(BROKER_JARS.glob("kafka_*.jar")):
        raise NotStarted(f"The broker's jars are not in {BROKER_JARS}. Run `make setup`.")
    return [
        str(java()),
        f"-Dlog4j2.configurationFile={home / 'log4j2.properties'}",
        "-cp",
        f"{BROKER_JARS}/*",
        *arguments,
    ]
