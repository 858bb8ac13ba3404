"""The fold on Spark: the same states and positions as the group's fold, so that either may take over from the other."""

import contextlib
import dataclasses
import os
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psutil
import pyarrow as pa
import pytest
import redis
from applied_repo import apply_definitions
from free_ports import free_port
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError
from stream_lab import (
    last_offsets,
    records_of,
    running,
    send,
    settings_for,
    store_client,
    transaction,
    until,
    value_of,
)

from feature_repo import open_store
from feature_repo.settings import Settings
from plumbline import Fold, PositionsLost
from plumbline.state_pieces import stored_slots
from stack import services
from streaming.door import Record, admit
from streaming.event_topics import EVENT_TOPICS, TRANSACTIONS, EventTopic
from streaming.fold_task import POSITIONS, STORE, Folded, fold_records
from streaming.spark_session import driver_address

CLUSTER = "local-cluster[2,1,1024]"
WITHIN_S = 240.0
"""Two executors and a driver begin slowly on a busy machine."""

EXECUTOR = "CoarseGrainedExecutorBackend"
VIEWS = {"transactions": "user_activity", "labels": "merchant_chargebacks"}


@dataclass
class Stream:
    """Applied definitions and empty topics; a store that the folds under test fill and one to compare it with."""

    settings: Settings
    other: Settings

    @property
    def broker(self) -> str:
        return self.settings.kafka_bootstrap_servers

    def fold(self) -> Fold:
        """A fold of the group's kind."""
        return open_store(self.settings).fold("transactions")

    def task(self, records: list[Record], fold: Fold | None = None, expected: int = 0) -> list[Folded]:
        """What a Spark task says of records of partition 0."""
        batches = fold_records([batch_of(records)], "transactions", fold or self.fold(), self.broker, {0: expected})
        return [Folded(**row) for batch in batches for row in batch.to_pylist()]

    def is_folded(self) -> bool:
        """Whether every record is; not known while the broker of a busy machine does not answer."""
        store = open_store(self.settings)
        with contextlib.suppress(KafkaError):
            return all(store.positions(view) == last_offsets(self.broker, topic) for topic, view in VIEWS.items())
        return False


@pytest.fixture(scope="module")
def applied(broker: str, redis_server: str, own_store: str, tmp_path_factory: pytest.TempPathFactory) -> Stream:
    settings = settings_for(broker, redis_server, tmp_path_factory.mktemp("spark-fold"))
    apply_definitions(settings)
    return Stream(settings, dataclasses.replace(settings, redis_connection_string=own_store))


@pytest.fixture
def stream(applied: Stream, empty_topics: str) -> Stream:
    store_client(applied.settings).flushdb()
    return applied


def batch_of(records: list[Record]) -> pa.RecordBatch:
    """As Spark's Kafka source has them."""
    arrived = pa.array([record.appended_ms * 1000 for record in records]).cast(pa.timestamp("us", "UTC"))
    columns = {"partition": pa.int32(), "offset": pa.int64(), "key": pa.binary(), "value": pa.binary()}
    arrays = {name: pa.array([getattr(record, name) for record in records], kind) for name, kind in columns.items()}
    return pa.record_batch({**arrays, "timestamp": arrived}).select(["partition", "offset", "timestamp", "key", "value"])


def records_at(first: int, values: list[bytes]) -> list[Record]:
    now_ms = int(time.time() * 1000)
    return [Record(0, first + number, now_ms, b"u", value) for number, value in enumerate(values)]


def mixed() -> list[bytes]:
    """Two events that count, one of them twice, one that came too late, one that is none."""
    ada = value_of(transaction("ada", merchant_id="the-mill", amount_cents=300))
    late = value_of(transaction("ada", event_timestamp=(datetime.now(UTC) - timedelta(days=2)).isoformat()))
    return [ada, ada, late, b"{", value_of(transaction("bo", merchant_id="the-mill"))]


def kept(settings: Settings) -> dict[bytes, dict[bytes, bytes]]:
    """Everything in the store: states with their fences, positions, claims.

    Of a large state the two pieces as one: what of it has settled is up to the batches.
    """
    client: redis.Redis = redis.Redis.from_url(f"redis://{settings.redis_connection_string.replace(',db=', '/')}")
    store = open_store(settings)
    layouts = {view.name.encode(): store.layout(view.name) for view in store.list_stream_feature_views()}
    found = {key: client.hgetall(key) for key in client.scan_iter()}
    for key, fields in found.items():
        kind, name, *_ = key.partition(b"}:")[2].split(b":")
        if kind == b"s":
            slots = stored_slots(layouts[name], {field.decode(): data for field, data in fields.items()})
            found[key] = {slot.encode(): state.data for slot, state in slots.items()}
    return found


def apply(fold: Fold, topic: EventTopic, records: list[Record]) -> None:
    events, _ = admit(topic, records, fold.source.allowed_lateness_us)
    fold.apply(events, {record.partition: record.offset for record in records})


def test_a_batch_that_spark_hands_over_again_changes_nothing(stream: Stream):
    records = records_at(0, mixed())

    (first,), before = stream.task(records), kept(stream.settings)
    (again,), after = stream.task(records), kept(stream.settings)

    assert (first.applied, first.duplicates, first.too_late, first.refused, first.late_letters) == (2, 1, 1, 1, 1)
    assert (again.applied, again.duplicates, again.replayed, again.last_offset) == (0, 0, 4, 4)
    assert after == before


def test_a_task_before_which_the_store_was_emptied_folds_nothing_and_says_so(stream: Stream):
    (folded,) = stream.task(records_at(5, mixed()), expected=5)

    assert folded.trouble == POSITIONS
    assert not [key for key in kept(stream.settings) if b":p:" in key or b":s:" in key]


def test_a_task_goes_on_where_a_fold_of_the_group_was(stream: Stream):
    records = records_at(0, [*mixed(), *mixed()])
    of_group = stream.fold()
    apply(of_group, TRANSACTIONS, records[:5])

    (folded,) = stream.task(records)

    assert (folded.applied, folded.replayed, folded.last_offset) == (2, 4, 9)


def test_a_fold_of_the_group_with_an_old_batch_is_refused_after_a_task(stream: Stream):
    records = records_at(0, mixed())
    of_group = stream.fold()
    of_group.resume([0])
    stream.task(records)
    before = kept(stream.settings)

    with pytest.raises(PositionsLost):
        apply(of_group, TRANSACTIONS, records[:2])

    assert kept(stream.settings) == before
    assert of_group.resume([0]) == {0: 5}


def test_a_task_with_the_store_away_says_so(stream: Stream):
    away = dataclasses.replace(stream.settings, redis_connection_string=f"127.0.0.1:{free_port()}")

    (folded,) = stream.task(records_at(0, mixed()), open_store(away).fold("transactions"))

    assert folded.trouble == STORE
    assert "does not answer" in folded.said


@pytest.mark.parametrize(("master", "on_loopback"), [("local[2]", True), (CLUSTER, True), ("spark://host:7077", False)])
def test_only_executors_of_this_machine_find_the_driver_on_loopback(master: str, on_loopback: bool):
    assert ("127.0.0.1" in driver_address(master).values()) == on_loopback


@pytest.mark.long
def test_a_fold_on_two_executors_leaves_the_store_as_one_of_the_group_does_whatever_dies(stream: Stream):
    settings = dataclasses.replace(stream.settings, spark_master=CLUSTER)
    beside = dataclasses.replace(settings, fold_metrics_port=free_port())
    send_mixed(stream.broker)

    with running(services.spark_fold(settings), settings) as driver:
        until(stream.is_folded, WITHIN_S)
        executors = executors_of(driver)
        assert [any("pyspark" in " ".join(child.cmdline()) for child in each.children()) for each in executors] == [True, True]
        os.kill(executors[0].pid, signal.SIGKILL)
        with KafkaAdminClient(bootstrap_servers=stream.broker) as admin:
            admin.create_partitions({"transactions": 5})
        until(lambda: 4 in dict(send(stream.broker, "transactions", [(f"u-{n}", b"no event") for n in range(99)])))
        send_mixed(stream.broker)
        until(stream.is_folded, WITHIN_S)
        store_client(settings).flushdb()
        until(stream.is_folded, WITHIN_S)
        with running(services.fold(beside), beside):
            send_mixed(stream.broker)
            until(stream.is_folded, WITHIN_S)
            os.kill(driver, signal.SIGKILL)
            send_mixed(stream.broker)
            until(stream.is_folded, WITHIN_S)

    fold_all(stream)
    assert kept(stream.settings) == kept(stream.other)


def executors_of(driver: int) -> list[psutil.Process]:
    alive = [each for each in psutil.Process(driver).children(recursive=True) if each.status() != psutil.STATUS_ZOMBIE]
    return [each for each in alive if EXECUTOR in " ".join(each.cmdline())]


def send_mixed(broker: str) -> None:
    """Events of many users, some twice, some too late, some records that are no event; and labels."""
    events = [transaction(f"u-{n % 50}", merchant_id=f"m-{n % 7}", amount_cents=n) for n in range(300)]
    records = [(event["user_id"], value_of(event)) for event in [*events, *events[::9]]]
    send(broker, "transactions", [*records, *(("u-1", value) for value in mixed())])
    labels = [event | {"is_fraud": 1, "fraud_amount_cents": 1} for event in events[:20]]
    send(broker, "labels", [(label["user_id"], value_of(label)) for label in labels])


def fold_all(stream: Stream) -> None:
    """Both topics into the other store, in this process, each partition in one batch."""
    store = open_store(stream.other)
    for topic in EVENT_TOPICS:
        fold, found = store.fold(topic.name), records_of(stream.broker, topic.name)
        fold.resume(sorted({record.partition for record in found}))
        apply(fold, topic, [Record(r.partition, r.offset, r.timestamp, r.key, r.value) for r in found])
