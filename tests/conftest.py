"""Real parts for the tests that claim them: one broker, one store, one Spark session a run, started when asked for."""

import itertools
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import product_lab
import pytest
from free_ports import free_port

from feature_repo.settings import PROJECT_ROOT, Settings
from stack import kafka_broker, processes, topics
from stack import redis_server as redis_part
from stack.java import java_home

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DATABASES = 16
"""How many databases Valkey has when nothing is said; the first is for the tests that empty all of it."""

SPARK_JARS = PROJECT_ROOT / ".parts" / "jars" / "spark"


NO_DATA = tempfile.TemporaryDirectory(prefix="plumbline-tests-")
"""The data directory of tests that name none: what `make demo` left in the checkout must not decide about them."""


def pytest_configure() -> None:
    """Every test, and every process it starts, runs in UTC, on the project's Java, with this Python and without data."""
    os.environ["DATA_DIR"] = NO_DATA.name
    os.environ["TZ"] = "UTC"
    time.tzset()
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["JAVA_HOME"] = str(java_home())
    # pyspark.sql.connect takes a process whose main module has no file (a worker of pytest-xdist) for a doctest and ends it
    main = sys.modules["__main__"]
    main.__file__ = getattr(main, "__file__", pytest.__file__)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, the whole product before all: of several processes none is left with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (not _wants_product(item), item.path not in slow))


def _wants_product(item: pytest.Item) -> bool:
    return "product" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def stack_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a stack of the test run's own: a temporary data directory and ports that were free."""
    return Settings.from_env(
        {
            "DATA_DIR": str(tmp_path_factory.mktemp("stack")),
            "KAFKA_PORT": str(free_port()),
            "REDIS_PORT": str(free_port()),
            "MLFLOW_PORT": str(free_port()),
        }
    )


@pytest.fixture(scope="session")
def broker(stack_settings: Settings) -> Iterator[str]:
    """The bootstrap servers of a running broker that has the platform's topics."""
    with _started(kafka_broker.program(stack_settings), stack_settings.data_dir):
        topics.create_missing(stack_settings.kafka_bootstrap_servers)
        yield stack_settings.kafka_bootstrap_servers


@pytest.fixture
def empty_topics(broker: str) -> str:
    """The bootstrap servers of the broker, with the platform's topics as if nothing had ever been sent."""
    topics.recreate(broker)
    return broker


@pytest.fixture(scope="session")
def redis_server(stack_settings: Settings) -> Iterator[str]:
    """The connection string (host:port) of a running Valkey; what is in it is what other tests left."""
    with _started(redis_part.program(stack_settings), stack_settings.data_dir):
        yield stack_settings.redis_connection_string


@pytest.fixture
def empty_redis(redis_server: str) -> str:
    """The connection string of a running Valkey with nothing in it."""
    import redis

    host, port = redis_server.split(":")
    with redis.Redis(host=host, port=int(port)) as client:
        client.flushall()
    return redis_server


@pytest.fixture(scope="session")
def _databases() -> Iterator[int]:
    return itertools.cycle(range(1, DATABASES))


@pytest.fixture(scope="module")
def own_store(redis_server: str, _databases: Iterator[int]) -> str:
    """The connection string of an empty database of the running Valkey that only the tests of one file use."""
    import redis

    host, port = redis_server.split(":")
    database = next(_databases)
    with redis.Redis(host=host, port=int(port), db=database) as client:
        client.flushdb()
    return f"{redis_server},db={database}"


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator["SparkSession"]:
    """One small Spark session in UTC with the Kafka connector, two threads and a warehouse of its own."""
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master("local[2]")
        .appName("plumbline-tests")
        .config("spark.jars", ",".join(map(str, SPARK_JARS.glob("*.jar"))))
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("warehouse")))
        .config("spark.driver.memory", "1g")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )
    yield session
    session.stop()


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[product_lab.Checkout]:
    """A checkout whose whole product runs, on data of its user's own; it may have been changed by another test."""
    with product_lab.checkout(tmp_path_factory.mktemp("product")) as product:
        product_lab.bring_up(product)
        yield product


@contextmanager
def _started(program: processes.Program, data_dir: Path) -> Iterator[None]:
    processes.start(program, data_dir)
    try:
        processes.await_ready(program, data_dir)
        yield
    finally:
        processes.stop([program.name], data_dir)
