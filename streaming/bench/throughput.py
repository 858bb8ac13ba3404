"""One fold process on a full topic, beside the floor (poll and set), `store.push` of single events, and a hot user."""

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import NamedTuple

import pandas as pd
import redis
from kafka import KafkaConsumer, TopicPartition

from feature_repo import open_store
from feature_repo.settings import Settings
from plumbline import FeatureStore
from streaming.bench.sample import load, messages
from streaming.door import Record, admit
from streaming.event_topics import TRANSACTIONS
from streaming.fold import open_consumer, open_folding, tune_interpreter
from streaming.fold_metrics import FoldMetrics
from streaming.folding import BATCH_RECORDS
from streaming.patience import Patience

ENTITIES = 4
"""Entities an event touches in the repo: user, merchant, device and a pair (views share entities)."""
PUSHES = 100
HOT_SHARE = 0.3
LOOK_EVERY_S = 0.01
Line = dict[str, object]


class Taken(NamedTuple):
    """Seconds on the clock and of this process's processors, and bytes that the store was sent."""

    wall_s: float
    cpu_s: float
    sent_bytes: int = 0


def lines(settings: Settings, events: int) -> Iterator[Line]:
    """Events a second of the fold (decoding included), first on even traffic, then with one user having 30 % of it."""
    load(settings.kafka_bootstrap_servers, events)
    store = open_store(settings)
    floor = _timed(lambda: _poll_and_set(settings))
    even = _fold_all(settings, store)
    pushed = _timed(lambda: _push(store))
    load(settings.kafka_bootstrap_servers, events, HOT_SHARE, seed=2)
    hot = _fold_all(settings, store)
    push_s = pushed.wall_s / PUSHES
    yield {
        "bench": "fold", "size": events, **_speed("fold", even, events), **_speed("floor", floor, events),
        "sent_bytes_an_event": round(even.sent_bytes / events),
        "push_events_s": round(1 / push_s, 1), "ratio_push": round(push_s * events / even.wall_s, 1),
        "ratio_push_cpu": round(pushed.cpu_s / PUSHES * events / even.cpu_s, 1),
        "times_floor": round(even.wall_s / floor.wall_s, 2), "times_floor_cpu": round(even.cpu_s / floor.cpu_s, 2),
    }  # fmt: skip
    yield {
        "bench": "fold_hot", "size": events, "hot_share": HOT_SHARE, **_speed("fold", hot, events),
        "sent_bytes_an_event": round(hot.sent_bytes / events),
        "share_of_even": round(even.wall_s / hot.wall_s, 2), "share_of_even_cpu": round(even.cpu_s / hot.cpu_s, 2),
    }  # fmt: skip


def _speed(name: str, taken: Taken, events: int) -> Line:
    return {
        f"{name}_events_s": round(events / taken.wall_s),
        f"{name}_cpu_us_an_event": round(taken.cpu_s / events * 1e6, 1),
    }


def _timed(call: Callable[[], object]) -> Taken:
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Taken(time.perf_counter() - wall, time.process_time() - cpu)


def _fold_all(settings: Settings, store: FeatureStore) -> Taken:
    """What `streaming.fold` does, from when it is dealt its partitions until the store's positions are at the topic's end."""
    with closing(open_consumer(settings.kafka_bootstrap_servers, settings.fold_group)) as consumer:
        ends = {partition: end - 1 for partition, end in ends_of(consumer).items()}
    tune_interpreter()
    with open_folding(settings, store, FoldMetrics(), Patience(threading.Event())) as folding:
        while not folding.has_joined:
            time.sleep(LOOK_EVERY_S)

        def fold() -> None:
            while store.positions("user_activity") != ends:
                folding.step()

        before = _received(settings)
        taken = _timed(fold)._replace(sent_bytes=_received(settings) - before)
    gc.unfreeze()
    return taken


def _received(settings: Settings) -> int:
    """Bytes that the store was sent since it started."""
    with store_client(settings) as client:
        return int(client.info("stats")["total_net_input_bytes"])


def store_client(settings: Settings) -> redis.Redis:
    """A plain connection to the store, for floors and for what the store tells of itself."""
    host, port = settings.redis_connection_string.split(",")[0].split(":")
    return redis.Redis(host=host, port=int(port))


def _poll_and_set(settings: Settings) -> None:
    """The floor: poll, decode nothing, and one SET of 100 bytes for each of the entities of an event, pipelined."""
    client, value = store_client(settings), b"x" * 100
    consumer = open_consumer(settings.kafka_bootstrap_servers, settings.fold_group)
    ends = ends_of(consumer)
    partitions = [TopicPartition(TRANSACTIONS.name, number) for number in ends]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    keys = []
    left = sum(ends.values())
    while left > 0:
        pipe = client.pipeline(transaction=False)
        for records in consumer.poll(timeout_ms=200, max_records=BATCH_RECORDS).values():
            left -= len(records)
            for record in records:
                for number in range(ENTITIES):
                    keys.append(b"floor:%d:%s" % (number, record.key))
                    pipe.set(keys[-1], value)
        pipe.execute()
    consumer.close(autocommit=False)
    client.unlink(*set(keys))


def _push(store: FeatureStore) -> None:
    """Single events, as an application without a topic would push them."""
    records = [Record(0, number, int(time.time() * 1000), *message) for number, message in enumerate(messages(PUSHES, seed=9))]
    table, _ = admit(TRANSACTIONS, records, 10**12)
    frame: pd.DataFrame = table.drop_columns(["source_partition", "source_offset"]).to_pandas()
    for number in range(PUSHES):
        store.push(TRANSACTIONS.name, frame.iloc[number : number + 1])


def ends_of(consumer: KafkaConsumer) -> dict[int, int]:
    """The next offset of each partition of the transactions that has any records."""
    numbers = consumer.partitions_for_topic(TRANSACTIONS.name)
    ends = consumer.end_offsets([TopicPartition(TRANSACTIONS.name, number) for number in numbers])
    return {partition.partition: end for partition, end in ends.items() if end}
