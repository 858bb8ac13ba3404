"""A backlog: one batch is written while the next is polled and prepared; whatever happens to the first, nothing is lost."""

import threading
from pathlib import Path

import pytest
from applied_repo import apply_definitions
from stream_lab import last_offsets, settings_for, store_client, transaction, until

from feature_repo import open_store
from feature_repo.settings import Settings
from stack import topics
from streaming import folding
from streaming.fold import open_folding
from streaming.fold_metrics import FoldMetrics
from streaming.patience import Patience
from streaming.produce import send_events

FEATURES = ["user_activity:event_id_count_1d", "merchant_chargebacks:fraud_id_count_1d"]
ROUNDS = 16
VIEWS = {"user_activity": "transactions", "merchant_chargebacks": "labels"}
USERS = [f"user-{number}" for number in range(7)]


@pytest.fixture
def settings(broker: str, redis_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Empty topics and an empty store; whatever a poll returns counts as a backlog."""
    topics.recreate(broker)
    settings = settings_for(broker, redis_server, tmp_path)
    store_client(settings).flushdb()
    apply_definitions(settings)
    monkeypatch.setattr(folding, "BACKLOG_RECORDS", 1)
    return settings


def test_what_was_polled_before_the_positions_were_found_gone_is_read_again_and_not_written(settings: Settings):
    store, metrics, broker = open_store(settings), FoldMetrics(), settings.kafka_bootstrap_servers
    events = [transaction(user, merchant_id=user) for user in USERS]
    labels = [event | {"is_fraud": 1, "fraud_amount_cents": 1} for event in events]

    with open_folding(settings, store, metrics, Patience(threading.Event())) as fold:
        for number in range(ROUNDS):
            for topic, sent in (("transactions", events), ("labels", labels)):
                send_events(
                    settings, [event | {"event_id": f"{topic}-{number}-{event['user_id']}"} for event in sent], topic=topic
                )
            fold.step()
            if number % 2 and number < ROUNDS - 3:
                store_client(settings).flushdb()
        ends = {view: last_offsets(broker, topic) for view, topic in VIEWS.items()}
        until(lambda: fold.step() or {view: store.positions(view) for view in VIEWS} == ends)

    rows = [{"user_id": user, "merchant_id": user} for user in USERS]
    counts = [tuple(answer.features.values()) for answer in store.read_online(FEATURES, rows)]
    assert counts == [(ROUNDS, ROUNDS)] * len(USERS)
    assert metrics.registry.get_sample_value("plumbline_fold_positions_lost_total") >= 1
