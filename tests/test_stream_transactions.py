"""Producers with transactions: what they take back counts nowhere, and the offsets that they leave are no records."""

import json
import threading
import uuid
from contextlib import closing

import pyarrow.parquet as pq
import pytest
from applied_repo import apply_definitions
from kafka import KafkaProducer
from stream_lab import settings_for, store_client, transaction, until

from feature_repo import open_store
from stack import topics
from streaming.door import Record, admit
from streaming.event_topics import TRANSACTIONS
from streaming.fold import open_folding
from streaming.fold_metrics import FoldMetrics
from streaming.patience import Patience
from streaming.reconciliation import reconcile
from streaming.topic_records import records

DAY_US = 86_400_000_000
SENT = [("kept", 3, True), ("taken back", 4, False), ("kept", 2, True), ("taken back", 1, False)]


@pytest.fixture
def settings(broker, redis_server, tmp_path):
    """Topics with what SENT says of two users, each time in a transaction that was committed or not."""
    topics.recreate(broker)
    settings = settings_for(broker, redis_server, tmp_path)
    store_client(settings).flushdb()
    apply_definitions(settings)
    with closing(KafkaProducer(bootstrap_servers=broker, transactional_id=f"t-{uuid.uuid4().hex}")) as producer:
        producer.init_transactions()
        for user, count, is_kept in SENT:
            producer.begin_transaction()
            for _ in range(count):
                producer.send("transactions", key=user.encode(), value=json.dumps(transaction(user)).encode())
            producer.flush()
            if is_kept:
                producer.commit_transaction()
            else:
                producer.abort_transaction()
    return settings


def test_lag_and_counts_are_of_records_alone(settings):
    store, metrics, broker = open_store(settings), FoldMetrics(), settings.kafka_bootstrap_servers
    labels = [{"topic": "transactions", "partition": str(number)} for number in range(4)]

    def lag() -> float | None:
        found = [metrics.registry.get_sample_value("plumbline_fold_lag_records", of) for of in labels]
        return None if None in found else sum(found)

    with open_folding(settings, store, metrics, Patience(threading.Event())) as fold:
        until(lambda: fold.step() or lag() == 0)
    read = [Record(r.partition, r.offset, r.timestamp, r.key, r.value) for r in records(broker, "transactions")]
    rows, _ = admit(TRANSACTIONS, read, DAY_US)
    (settings.events_dir / "transactions").mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, settings.events_dir / "transactions" / "part-0.parquet")
    ends = {record.partition: record.offset for record in read}

    counted = reconcile(TRANSACTIONS, store.fold("transactions"), broker, ends, [])
    answers = store.read_online(["user_activity:event_id_count_1d"], [{"user_id": user} for user in ("kept", "taken back")])

    assert [answer.features["user_activity__event_id_count_1d"] for answer in answers] == [5, 0]
    assert (counted.produced, counted.folded, counted.unaccounted, counted.unread) == (5, 5, 0, 0)
