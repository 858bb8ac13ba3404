"""What comes in: which records are events, and why the others are not."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from feature_repo.event_schema import LABELS as LABELS_LOG
from feature_repo.event_schema import TRANSACTIONS as TRANSACTIONS_LOG
from streaming.door import Record, admit
from streaming.event_topics import LABELS, TRANSACTIONS

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)
DAY_US = 86_400_000_000


def record(value: bytes | None, appended_ms: int = NOON_MS) -> Record:
    return Record(partition=3, offset=41, appended_ms=appended_ms, key=b"u-1", value=value)


def payload(**changes: object) -> bytes:
    event = {"event_id": "e-1", "user_id": "u-1", "event_timestamp": "2026-03-01T11:59:00Z", "amount_cents": 1250}
    return json.dumps(event | changes).encode()


def label(**changes: object) -> bytes:
    return payload(**({"is_fraud": 1} | changes))


def one(value: bytes, topic=TRANSACTIONS, lateness_us: int = DAY_US) -> dict[str, object]:
    """The row that a record becomes."""
    events, refused = admit(topic, [record(value)], lateness_us)
    assert not refused, refused[0].reason
    return events.to_pylist()[0]


def bad_of_any_topic(good: Callable[..., bytes], now: datetime) -> dict[str, tuple[bytes | None, str]]:
    """Records that are no event of their topic when they arrive at `now`, each with words of its reason.

    good  makes a good record, changed as told
    """
    text = good().decode()
    return {
        "tombstone": (None, "tombstone"),
        "empty": (b"", "empty"),
        "not JSON": (b"hello", "not JSON"),
        "truncated": (good()[:-20], "cut off"),
        "two objects": (good() + good(), "not JSON"),
        "an array": (b"[1]", "not an object"),
        "a number": (b"7", "not an object"),
        "null": (b"null", "not an object"),
        "1 MB of something else": (b"x" * 1_000_000, "not JSON"),
        "nested beyond reason": (b'{"x":' + b"[" * 100_000, "nested too deeply"),
        "latin-1": ('{"event_id": "é"}'.encode("latin-1"), "not UTF-8: byte 14 is 0xe9"),
        "not UTF-8 in a field that is ignored": (good()[:-1] + b', "note": "\xff"}', "not UTF-8"),
        "UTF-16": (text.encode("utf-16"), "not UTF-8"),
        "compressed": (gzip.compress(good()), "not UTF-8"),
        "a byte order mark": (text.encode("utf-8-sig"), "not JSON"),
        "half a character": (good(user_id="\ud800"), "surrogate"),
        "no user": (text.replace('"user_id"', '"user"').encode(), "`user_id`"),
        "no event id": (text.replace('"event_id"', '"id"').encode(), "`event_id`"),
        "no time": (text.replace('"event_timestamp"', '"time"').encode(), "`event_timestamp`"),
        "user is null": (good(user_id=None), "user_id"),
        "user is a number": (good(user_id=7), "user_id"),
        "user is an object": (good(user_id={"id": "u-1"}), "user_id: Expected `str`, got `object`"),
        "event id is an array": (good(event_id=["e-1"]), "event_id: Expected `str`, got `array`"),
        "empty id": (good(event_id=""), "event_id"),
        "id of 257 characters": (good(merchant_id="m" * 257), "merchant_id"),
        "line feed in an id": (good(device_id="d\n1"), "device_id has a control character"),
        "NUL in an id": (good(event_id="e\0"), "event_id has a control character"),
        "amount is text": (good(amount_cents="1250"), "amount_cents"),
        "amount is true": (good(amount_cents=True), "amount_cents"),
        "amount is 12.0": (good(amount_cents=12.0), "amount_cents"),
        "amount is 12.5": (good(amount_cents=12.5), "amount_cents"),
        "amount is 1e3": (text.replace("1250", "1e3").encode(), "amount_cents"),
        "amount is NaN": (good(amount_cents=float("nan")), "NaN"),
        "amount is infinite": (good(amount_cents=float("-inf")), "Infinity"),
        "amount is 1e400": (text.replace("1250", "1e400").encode(), "amount_cents"),
        "amount is 2^63": (good(amount_cents=2**63), "amount_cents"),
        "amount is 10^30": (good(amount_cents=10**30), "amount_cents"),
        "amount above 10^15": (good(amount_cents=10**15 + 1), "amount_cents"),
        "negative amount": (good(amount_cents=-1), "amount_cents"),
        "naive time": (good(event_timestamp="2026-03-01T11:59:00"), "UTC offset"),
        "time is a number": (good(event_timestamp=1_772_366_340), "RFC 3339"),
        "offset of 60 minutes": (good(event_timestamp="2026-03-01T13:59:00+02:60"), "RFC 3339"),
        "no such day": (good(event_timestamp="2026-02-29T11:59:00Z"), "day is out of range"),
        "before 1970": (good(event_timestamp="1969-12-31T23:59:59.999999Z"), "before 1970"),
        "year 1": (good(event_timestamp="0001-01-01T00:00:00+14:00"), "before 1970"),
        "year 9999": (good(event_timestamp="9999-12-31T23:59:59Z"), "more than 5 minutes after"),
        "a year ahead": (good(event_timestamp=(now + timedelta(days=365)).isoformat()), "more than 5 minutes after"),
    }


def bad_transactions(good: Callable[..., bytes], now: datetime) -> dict[str, tuple[bytes | None, str]]:
    return bad_of_any_topic(good, now) | {
        "unknown event type": (good(event_type="refund"), "view, hold, payment, withdrawal"),
        "country of 257 characters": (good(country="N" * 257), "country"),
        "control character in a category": (good(category="food\x07"), "category has a control character"),
    }


def bad_labels(good: Callable[..., bytes], now: datetime) -> dict[str, tuple[bytes | None, str]]:
    return bad_of_any_topic(good, now) | {
        "neither fraud nor not": (good(is_fraud=2), "is_fraud"),
        "fraud is true": (good(is_fraud=True), "is_fraud"),
        "fraud is unknown": (good(is_fraud=None), "is_fraud"),
        "fraud amount is text": (good(fraud_amount_cents="all"), "fraud_amount_cents"),
    }


BAD = bad_transactions(payload, NOON) | {
    "more than 5 minutes ahead": (payload(event_timestamp="2026-03-01T12:05:00.000001Z"), "more than 5 minutes after"),
}
BAD_LABELS = bad_labels(label, NOON) | {"is_fraud is left out": (payload(), "`is_fraud`")}
OF_TOPIC = [(TRANSACTIONS, *bad) for bad in BAD.values()] + [(LABELS, *bad) for bad in BAD_LABELS.values()]


@pytest.mark.parametrize(("topic", "value", "reason"), OF_TOPIC, ids=[*BAD, *(f"label: {name}" for name in BAD_LABELS)])
def test_a_record_that_is_no_event_is_refused_with_its_reason_and_its_bytes(topic, value: bytes | None, reason: str):
    events, (refused,) = admit(topic, [record(value)], DAY_US)

    assert events.num_rows == 0
    assert reason in refused.reason
    assert refused[:4] == (3, 41, b"u-1", value)


@pytest.mark.parametrize(
    ("inner", "is_event"),
    [
        ("[" * 63 + "]" * 63, True),
        ("[" * 64 + "]" * 64, False),
        ("{" + '"x":{' * 500 + "}" * 501, False),
        ('"' + "[" * 500 + '"', True),
        ('"' + r"\"[" * 500 + '"', True),
        ("[" + "[],[]," * 500 + "[]]", True),
    ],
)
def test_how_deep_a_record_may_be_nested_does_not_depend_on_who_reads_it(inner: str, is_event: bool):
    value = payload()[:-1] + f', "note": {inner}}}'.encode()

    def read(frames: int) -> int:
        if frames:
            return read(frames - 1)
        table, refused = admit(TRANSACTIONS, [record(value)], DAY_US)
        assert all("nested too deeply" in each.reason for each in refused)
        return table.num_rows

    assert read(0) == read(800) == int(is_event)


def test_a_refused_record_takes_no_other_with_it():
    records = [Record(0, offset, NOON_MS, b"u-1", value) for offset, (value, _) in enumerate(BAD.values())]
    good = Record(0, len(BAD), NOON_MS, b"u-1", payload())

    events, refused = admit(TRANSACTIONS, [*records, good], DAY_US)

    assert events["source_offset"].to_pylist() == [len(BAD)]
    assert len(refused) == len(BAD)


def test_an_event_becomes_a_row_of_the_log():
    row = one(payload(merchant_id="m-9", event_type="hold", country="NO"))

    assert row["event_timestamp"] == datetime(2026, 3, 1, 11, 59, tzinfo=UTC)
    assert row["created_timestamp"] == NOON
    assert (row["source_partition"], row["source_offset"]) == (3, 41)
    assert (row["hold_id"], row["hold_cents"], row["payment_id"]) == ("e-1", 1250, None)
    assert (row["merchant_id"], row["country"], row["session_id"], row["too_late"]) == ("m-9", "NO", None, False)


def test_the_rows_have_the_logs_schema_also_when_there_are_none():
    for topic, schema in ((TRANSACTIONS, TRANSACTIONS_LOG), (LABELS, LABELS_LOG)):
        events, _ = admit(topic, [], DAY_US)

        assert events.schema == schema


def test_what_the_payload_says_about_its_own_arrival_is_ignored():
    row = one(payload(created_timestamp="2020-01-01T00:00:00Z", source_offset=7, too_late=True, payment_cents=9, x=[1]))

    assert row["created_timestamp"] == NOON
    assert (row["source_offset"], row["too_late"], row["payment_cents"]) == (41, False, 1250)


def test_of_a_field_that_stands_twice_the_last_counts():
    twice = b'{"user_id": "u-0", "event_id": "e-1", "event_timestamp": "2026-03-01T11:59:00Z", "user_id": "u-1"}'

    assert one(twice)["user_id"] == "u-1"


def test_the_payload_says_whose_event_it_is_and_the_key_only_which_partition_it_takes():
    (row,) = admit(TRANSACTIONS, [Record(0, 0, NOON_MS, b"somebody else", payload())], DAY_US)[0].to_pylist()

    assert row["user_id"] == "u-1"


@pytest.mark.parametrize("absent", [{}, {"event_type": None}])
def test_an_event_without_a_type_is_a_payment(absent: dict[str, object]):
    assert one(payload(**absent))["event_type"] == "payment"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-03-01T13:59:00+02:00", "2026-03-01T11:59:00+00:00"),
        ("2026-02-28T12:00:00.25-23:59", "2026-03-01T11:59:00.250000+00:00"),
        ("2026-03-01t11:59:00z", "2026-03-01T11:59:00+00:00"),
        ("2026-03-01 11:59:00.1234569Z", "2026-03-01T11:59:00.123456+00:00"),  # finer than a microsecond: cut
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00+00:00"),
        ("2026-03-01T12:05:00Z", "2026-03-01T12:05:00+00:00"),  # five minutes ahead is still allowed
    ],
)
def test_a_time_may_have_any_offset(text: str, at: str):
    assert one(payload(event_timestamp=text))["event_timestamp"].isoformat() == at


@pytest.mark.parametrize("cents", [0, 10**15, None])
def test_zero_the_limit_and_nothing_are_amounts(cents: int | None):
    assert one(payload(amount_cents=cents))["amount_cents"] == cents


def test_any_writing_system_is_an_id_of_up_to_256_characters():
    assert one(payload(user_id="Ω" * 256))["user_id"] == "Ω" * 256


def test_an_event_is_too_late_when_it_arrives_more_than_the_allowed_lateness_after_its_time():
    exactly, longer = "2026-02-28T12:00:00Z", "2026-02-28T11:59:59.999999Z"

    assert one(payload(event_timestamp=exactly))["too_late"] is False
    assert one(payload(event_timestamp=longer))["too_late"] is True


def test_a_label_is_an_event_of_its_arrival_however_old_its_transaction_is():
    row = one(payload(event_timestamp="2020-01-01T00:00:00Z", is_fraud=1, fraud_amount_cents=1250), LABELS)

    assert row["too_late"] is False
    assert (row["transaction_event_id"], row["fraud_id"], row["fraud_amount_cents"]) == ("e-1", "e-1", 1250)


def test_a_label_that_clears_a_transaction_has_no_fraud_amount():
    row = one(payload(event_id="reversal", transaction_event_id="e-1", is_fraud=0, fraud_amount_cents=0), LABELS)

    assert (row["transaction_event_id"], row["fraud_id"], row["fraud_amount_cents"]) == ("e-1", None, None)
