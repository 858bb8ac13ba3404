"""The fold: what is sent can be read online, once, whatever is sent in between and whoever dies."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from applied_repo import apply_definitions
from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from prometheus_client.parser import text_string_to_metric_families
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
from test_observe import REPORT

from feature_repo import open_store
from feature_repo.features.entities import user
from feature_repo.features.logs import transaction_columns, transactions
from feature_repo.settings import Settings
from plumbline import FeatureStore, StateUnreadable, aggregate, windowed_view
from stack import ports, processes, services, topics
from streaming.door import Record, admit
from streaming.event_topics import TRANSACTIONS
from streaming.produce import send_events
from streaming.starting_points import NotThere, starting_offset
from streaming.topic_checks import TopicRefused, require_topics

COUNT, SUM = "user_activity:event_id_count_1d", "user_payments:payment_cents_sum_1d"


@dataclass
class Stream:
    """Applied definitions, the settings of the test's processes, and the store that they fill."""

    settings: Settings
    store: FeatureStore

    def counts_and_sums(self, users: list[str]) -> list[tuple[int, int]]:
        answers = self.store.read_online([COUNT, SUM], [{"user_id": user} for user in users])
        return [tuple(answer.features[name.replace(":", "__")] for name in (COUNT, SUM)) for answer in answers]

    def is_folded(self, topic: str, view: str) -> bool:
        return self.store.positions(view) == last_offsets(self.settings.kafka_bootstrap_servers, topic)

    def metric(self, name: str) -> float:
        """Sum of a metric of the fold over its labels."""
        _, text = ports.http_get(f"http://127.0.0.1:{self.settings.fold_metrics_port}/metrics")
        lines = (line for line in text.splitlines() if line.startswith(f"plumbline_fold_{name}"))
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


@pytest.fixture(scope="module")
def stream(broker: str, redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Stream:
    """Empty topics and an empty store under applied definitions."""
    topics.recreate(broker)
    settings = settings_for(broker, redis_server, tmp_path_factory.mktemp("fold"))
    store_client(settings).flushdb()
    apply_definitions(settings)
    return Stream(settings, open_store(settings))


@pytest.fixture(scope="module")
def fold(stream: Stream) -> Iterator[int]:
    with running(services.fold(stream.settings), stream.settings) as pid:
        yield pid


def test_a_produced_event_is_read_online(stream: Stream, fold: int):
    ada = [
        transaction("ada", amount_cents=1_250),
        transaction("ada", amount_cents=50),
        transaction("ada", event_type="view"),
    ]

    send_events(stream.settings, ada)

    assert until(lambda: stream.counts_and_sums(["ada"]) == [(3, 1_300)])


def test_a_label_counts_from_the_instant_it_arrives(stream: Stream, fold: int):
    long_ago = (datetime.now(UTC) - timedelta(days=40)).isoformat()
    label = transaction("bob", merchant_id="shop", event_timestamp=long_ago, is_fraud=1, fraud_amount_cents=100)

    send_events(stream.settings, [label], topic="labels")

    feature = "merchant_chargebacks:fraud_id_count_1d"
    assert until(
        lambda: stream.store.read_online([feature], [{"merchant_id": "shop"}])[0].features[feature.replace(":", "__")] == 1
    )


def test_a_redelivery_counts_once_and_is_no_dead_letter(stream: Stream, fold: int):
    event = transaction("dora", amount_cents=700)
    letters = stream.metric("dead_letters_total")
    duplicates = stream.metric("duplicate_events_total")

    send_events(stream.settings, [event, event, transaction("dora", amount_cents=1), event])

    until(lambda: stream.counts_and_sums(["dora"]) == [(2, 701)])
    until(lambda: stream.metric("duplicate_events_total") == duplicates + 2)
    assert stream.metric("dead_letters_total") == letters


def test_an_event_that_comes_too_late_is_shown_among_the_dead_letters_and_counted_by_no_window(stream: Stream, fold: int):
    two_days_ago = (datetime.now(UTC) - timedelta(days=2)).isoformat()
    late, timely = transaction("emil", event_timestamp=two_days_ago), transaction("emil")

    (place, _) = send_events(stream.settings, [late, timely])

    thirty_days = "user_activity:event_id_count_30d"
    answer = until(lambda: [a for a in stream.store.read_online([thirty_days], [{"user_id": "emil"}]) if a.known])[0]
    letter = records_of(stream.settings.kafka_bootstrap_servers, "transactions.dead-letter")
    letters = {(int(h["source_partition"]), int(h["source_offset"])): h["error"] for h in (dict(r.headers) for r in letter)}
    assert answer.features["user_activity__event_id_count_30d"] == 1
    assert b"too late" in letters[place]


def test_an_emptied_store_is_filled_again_from_the_topic(stream: Stream, fold: int):
    send_events(stream.settings, [transaction("finn") for _ in range(5)])
    until(lambda: stream.counts_and_sums(["finn"]) == [(5, 500)])

    store_client(stream.settings).flushdb()

    until(lambda: stream.counts_and_sums(["finn"]) == [(5, 500)])
    assert until(lambda: stream.is_folded("transactions", "user_activity"))


def test_a_partition_that_is_added_is_folded(stream: Stream, fold: int):
    broker = stream.settings.kafka_bootstrap_servers
    with KafkaAdminClient(bootstrap_servers=broker) as admin:
        added = len(admin.describe_topics(["transactions"])[0]["partitions"])
        admin.create_partitions({"transactions": added + 1})

    users = [f"gina-{number}" for number in range(40)]
    until(lambda: added in {p for p, _ in send_events(stream.settings, [transaction(user) for user in users])})

    assert until(lambda: stream.is_folded("transactions", "user_activity"))


def test_a_view_that_is_applied_while_the_fold_runs_catches_up(stream: Stream, fold: int):
    send_events(stream.settings, [transaction("ines", channel=channel) for channel in ("atm", "online", "atm")])
    until(lambda: stream.counts_and_sums(["ines"]) == [(3, 300)])
    channels = windowed_view(
        name="user_channels",
        entities=[user],
        source=transactions,
        schema=transaction_columns,
        aggregations=aggregate("channel", "count_distinct", over="1d"),
    )

    stream.store.apply([channels])

    until(lambda: stream.is_folded("transactions", "user_channels"))
    answer = stream.store.read_online(["user_channels:channel_count_distinct_1d"], [{"user_id": "ines"}])[0]
    assert answer.features == {"user_channels__channel_count_distinct_1d": 2}


FIGURES = (
    "plumbline_fold_dead_letters", "plumbline_fold_lag_records", "plumbline_fold_freshness_seconds",
    "plumbline_fold_duplicate_events", "plumbline_fold_too_late_events", "plumbline_fold_unreadable_states",
    "plumbline_parity_report_answers", "plumbline_parity_report_mismatches",
)  # fmt: skip


def test_the_folds_page_tells_every_figure_in_words_too(stream: Stream, fold: int):
    report = stream.settings.reports_path / "parity.json"
    report.parent.mkdir(exist_ok=True)
    report.write_text(json.dumps(REPORT))

    _, page = ports.http_get(f"http://127.0.0.1:{stream.settings.fold_metrics_port}/metrics")

    told = {family.name: family.documentation for family in text_string_to_metric_families(page)}
    assert [name for name in FIGURES if not told.get(name, "").endswith(".")] == []


def test_events_of_others_are_folded_past_a_damaged_state(stream: Stream, fold: int):
    send_events(stream.settings, [transaction(user) for user in ("nils", "oda")])
    until(lambda: stream.counts_and_sums(["nils", "oda"]) == [(1, 100), (1, 100)])
    with store_client(stream.settings) as store:
        for key in store.scan_iter("*:s:user_activity:*nils*"):
            for slot, state in store.hgetall(key).items():
                store.hset(key, slot, state[:-1] + bytes([state[-1] ^ 1]))

    send_events(stream.settings, [transaction(user) for user in ("nils", "oda")])

    until(lambda: stream.counts_and_sums(["oda"]) == [(2, 200)])
    until(lambda: stream.metric("unreadable_states_total") >= 1)
    with pytest.raises(StateUnreadable):
        stream.counts_and_sums(["nils"])


def test_a_fold_that_is_asked_to_stop_ends_well(stream: Stream, fold: int):
    process = psutil.Process(fold)

    process.terminate()

    assert process.wait(20) == 0
    assert "the positions are in the store" in processes.log_path("fold", stream.settings.data_dir).read_text()


def test_a_killed_fold_loses_nothing_and_counts_nothing_twice(stream: Stream):
    users = [f"hal-{number}" for number in range(30)]
    rounds = [[transaction(user, amount_cents=round_ + 1) for user in users] for round_ in range(60)]
    again = [event for events in rounds[::7] for event in events]
    program = services.fold(stream.settings)

    with running(program, stream.settings) as pid:
        for events in rounds[:20]:
            send_events(stream.settings, events)
        until(lambda: stream.counts_and_sums(users)[0][0] > 0)
        for round_, events in enumerate(rounds[20:]):
            send_events(stream.settings, events)
            if round_ == 5:
                os.kill(pid, signal.SIGKILL)
    send_events(stream.settings, again)
    with running(program, stream.settings):
        until(lambda: stream.is_folded("transactions", "user_activity"))
        until(lambda: stream.is_folded("transactions", "user_payments"))

    assert stream.counts_and_sums(users) == [(60, 60 * 61 // 2)] * len(users)


def test_a_bad_record_is_a_dead_letter_also_where_materialize_moved_the_positions_past_it(stream: Stream):
    broker, letters = stream.settings.kafka_bootstrap_servers, "transactions.dead-letter"
    with running(services.fold(stream.settings), stream.settings):
        send_events(stream.settings, [transaction("kim")])
        until(lambda: stream.counts_and_sums(["kim"]) == [(1, 100)])
        until(lambda: stream.is_folded("transactions", "user_activity"))
    bad, good = send(broker, "transactions", [("kim", b"{"), ("kim", value_of(transaction("kim")))])
    records = [Record(*good, int(time.time() * 1000), b"kim", value_of(transaction("kim")))]
    events, _ = admit(TRANSACTIONS, records, 10**12)
    fold = stream.store.fold("transactions")
    fold.resume([good[0]])
    fold.apply(events, {good[0]: good[1]})

    with running(services.fold(stream.settings), stream.settings):
        found = until(lambda: {place_of(letter) for letter in records_of(broker, letters)} & {bad})

    assert found == {bad}
    assert stream.counts_and_sums(["kim"]) == [(2, 200)]


def place_of(letter) -> tuple[int, int]:
    headers = dict(letter.headers)
    return int(headers["source_partition"]), int(headers["source_offset"])


def test_folds_share_the_partitions_and_take_over_those_of_a_dead_one(stream: Stream):
    folds = [services.fold(stream.settings, number) for number in (1, 2)]
    pages = [f"http://127.0.0.1:{stream.settings.fold_metrics_port + number}/metrics" for number in (0, 1)]
    users = [f"jan-{number}" for number in range(20)]
    send_events(stream.settings, [transaction(f"of every partition {number}") for number in range(100)])

    with running(folds[0], stream.settings), running(folds[1], stream.settings) as doomed:
        every = set(last_offsets(stream.settings.kafka_bootstrap_servers, "transactions"))
        until(lambda: sorted(partition for page in pages for partition in partitions_at(page)) == sorted(every))
        until(lambda: all(partitions_at(page) for page in pages))
        send_events(stream.settings, [transaction(user) for user in users])
        until(lambda: stream.counts_and_sums(users) == [(1, 100)] * len(users))
        os.kill(doomed, signal.SIGKILL)
        send_events(stream.settings, [transaction(user) for user in users])

        until(lambda: stream.counts_and_sums(users) == [(2, 200)] * len(users))

        assert partitions_at(pages[0]) == every


def partitions_at(page: str) -> set[int]:
    """Partitions of `transactions` that the fold with this page of metrics has folded something of."""
    _, text = ports.http_get(page)
    named = re.findall(r'^plumbline_fold_position\{partition="(\d+)",topic="transactions"\}', text, re.MULTILINE)
    return {int(number) for number in named}


def test_a_topic_whose_times_are_its_producers_is_refused(empty_topics: str):
    created_by_producer = ConfigResource(ConfigResourceType.TOPIC, "labels", {"message.timestamp.type": "CreateTime"})
    with KafkaAdminClient(bootstrap_servers=empty_topics) as admin:
        admin.alter_configs([created_by_producer])

    try:
        with pytest.raises(TopicRefused, match=r"'labels' has message\.timestamp\.type=CreateTime"):
            require_topics(empty_topics)
    finally:
        topics.recreate(empty_topics)


PARTITION = TopicPartition("transactions", 2)


@pytest.mark.parametrize(
    ("resume_at", "beginning", "end", "offset"),
    [(None, 0, 0, 0), (None, 0, 500, 0), (0, 0, 500, 0), (17, 0, 500, 17), (500, 0, 500, 500), (17, 17, 500, 17)],
)
def test_a_partition_is_read_from_the_stores_position_or_the_topics_beginning(
    resume_at: int | None, beginning: int, end: int, offset: int
):
    assert starting_offset(PARTITION, resume_at, beginning, end) == offset


@pytest.mark.parametrize(
    ("resume_at", "beginning", "end", "remedy"),
    [(None, 5, 500, "make materialize"), (4, 5, 500, "make materialize"), (501, 0, 500, "not the topic")],
)
def test_a_partition_whose_next_record_is_gone_waits(resume_at: int | None, beginning: int, end: int, remedy: str):
    with pytest.raises(NotThere, match=remedy):
        starting_offset(PARTITION, resume_at, beginning, end)
