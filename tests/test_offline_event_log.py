"""Which rows of an event log count, however its files look."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from histories import LATENESS, examples, histories
from hypothesis import given
from naive import accepted as naive_accepted

from plumbline.acceptance import ACCEPTED, REFUSED, TOO_LATE, timeliness
from plumbline.event_log import (
    LogNotFoundError,
    LogSchemaError,
    accepted,
    history_generation,
    log_positions,
    read_events,
    read_rows,
)
from plumbline.view_spec import LogSource

US = pa.timestamp("us", tz="UTC")
NOON = datetime(2024, 3, 10, 12, tzinfo=UTC)
NOON_US = int(NOON.timestamp()) * 1_000_000
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def source(path: Path, **changes: object) -> LogSource:
    fields = {
        "name": "payments",
        "path": str(path),
        "timestamp_field": "event_timestamp",
        "created_timestamp_column": "created_timestamp",
        "allowed_lateness_us": 3_600_000_000,
    }
    return LogSource(**fields | changes)


def log(rows: list[tuple]) -> pa.Table:
    """Rows of (event_id, event_timestamp, created_timestamp, partition, offset), user 'ann' and amount = row number."""
    ids, event, created, partition, offset = zip(*rows, strict=True)
    return pa.table(
        {
            "event_id": pa.array(ids, pa.string()),
            "event_timestamp": pa.array(event, US),
            "created_timestamp": pa.array(created, US),
            "source_partition": pa.array(partition, pa.int32()),
            "source_offset": pa.array(offset, pa.int64()),
            "user_id": ["ann"] * len(rows),
            "amount": pa.array(range(len(rows)), pa.int64()),
        }
    )


def kept(rows: list[tuple]) -> list[int]:
    """Numbers of the rows that count with an allowed lateness of one hour."""
    return np.flatnonzero(accepted(log(rows), 3_600_000_000)).tolist()


def write(path: Path, table: pa.Table, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)


def test_an_event_id_counts_once_in_its_partition():
    rows = [
        ("taxi", NOON, NOON, 0, 7),
        ("taxi", NOON, NOON + SECOND, 0, 9),
        ("taxi", NOON, NOON + SECOND, 1, 3),
        ("tram", NOON, NOON, 0, 8),
    ]

    assert kept(rows) == [0, 2, 3]


def test_the_smaller_offset_counts_whatever_the_order_of_rows():
    assert kept([("taxi", NOON, NOON, 0, 9), ("taxi", NOON, NOON, 0, 7)]) == [1]


def test_a_claim_lasts_until_the_allowed_lateness_after_the_event_and_includes_that_instant():
    again = [NOON + HOUR, NOON + HOUR + timedelta(microseconds=1)]
    rows = [("taxi", NOON, NOON, 0, 1)]

    assert kept([*rows, ("taxi", again[0], again[0], 0, 2)]) == [0]
    assert kept([*rows, ("taxi", again[1], again[1], 0, 2)]) == [0, 1]


def test_a_duplicate_claims_nothing_itself():
    later = NOON + 40 * MINUTE
    rows = [
        ("taxi", NOON, NOON, 0, 1),
        ("taxi", later, later, 0, 2),
        ("taxi", NOON + 70 * MINUTE, NOON + 70 * MINUTE, 0, 3),
    ]

    assert kept(rows) == [0, 2]


def test_too_late_and_refused_deliveries_count_nowhere_and_claim_nothing():
    microsecond = timedelta(microseconds=1)
    rows = [
        ("late", NOON, NOON + HOUR + microsecond, 0, 1),
        ("late", NOON + HOUR, NOON + HOUR, 0, 2),
        ("ahead", NOON + 5 * MINUTE + microsecond, NOON, 0, 3),
        ("ahead", NOON, NOON, 0, 4),
        ("just", NOON, NOON + HOUR, 0, 5),
        ("soon", NOON + 5 * MINUTE, NOON, 0, 6),
    ]

    assert kept(rows) == [1, 3, 4, 5]


def test_rows_are_judged_rightly_at_the_ends_of_time():
    first, last = -(2**63) + 1, 2**63 - 1
    rows = [
        ("late", first, last, 0, 1),
        ("ahead", last, first, 0, 2),
        ("in time", last, last, 0, 3),
        ("in time", last, last, 0, 4),
        ("at first", first, first, 0, 5),
        ("at first", first + 1, first + 1, 0, 6),
    ]

    assert kept(rows) == [2, 4]
    at, created = (np.array([row[column] for row in rows]) for column in (1, 2))
    assert timeliness(at, created, 3_600_000_000).tolist() == [TOO_LATE, REFUSED, *4 * [ACCEPTED]]


def test_history_is_exempt_from_all_three_rules():
    rows = [
        ("taxi", NOON, NOON + 30 * DAY, None, None),
        ("taxi", NOON, NOON, None, None),
        ("taxi", NOON, NOON - DAY, None, None),
    ]

    assert kept(rows) == [0, 1, 2]


def test_events_without_an_id_are_never_duplicates():
    assert kept([(None, NOON, NOON, 0, 1), (None, NOON, NOON, 0, 2)]) == [0, 1]


def test_two_rows_of_one_record_count_once():
    rows = [(None, NOON, NOON, 0, 1), (None, NOON, NOON, 0, 1), ("taxi", NOON, NOON, 0, 2), ("taxi", NOON, NOON, 0, 2)]

    assert kept(rows) == [0, 2]


def test_a_streamed_row_of_unknown_creation_was_known_when_it_happened():
    assert kept([("taxi", NOON, None, 0, 1)]) == [0]


@examples(150)
@given(history=histories())
def test_the_rules_equal_their_definition(history):
    events = [event | {"source_offset": event["source_offset"]} for event in history.events]
    table = pa.table(
        {
            "event_id": pa.array([e["event_id"] for e in events], pa.string()),
            "event_timestamp": pa.array([e["event_timestamp"] for e in events], pa.int64()).cast(US),
            "created_timestamp": pa.array([e["created_timestamp"] for e in events], pa.int64()).cast(US),
            "source_partition": pa.array([e["source_partition"] for e in events], pa.int32()),
            "source_offset": pa.array([e["source_offset"] for e in events], pa.int64()),
        }
    )

    counts = accepted(table, LATENESS)

    expected = naive_accepted(events, LATENESS)
    assert [e for e, count in zip(events, counts, strict=True) if count] == expected


def test_a_single_file_and_a_folder_of_files_read_the_same(tmp_path):
    table = log([("taxi", NOON, NOON, None, None), ("tram", NOON - DAY, NOON, None, None)])
    write(tmp_path / "one.parquet", table)
    write(tmp_path / "many/event_date=2024-03-10/a.parquet", table.slice(0, 1))
    write(tmp_path / "many/event_date=2024-03-09/b.parquet", table.slice(1, 1))

    one = read_events(source(tmp_path / "one.parquet"), ["amount"], join_keys=["user_id"])
    many = read_events(source(tmp_path / "many"), ["amount"], join_keys=["user_id"])

    assert one.sort_by("amount") == many.sort_by("amount")
    assert one.column_names == [
        "user_id",
        "amount",
        "event_timestamp",
        "created_timestamp",
        "event_id",
        "source_partition",
        "source_offset",
    ]


def test_files_of_different_schemas_are_read_as_one(tmp_path):
    table = log([("taxi", NOON, NOON, 0, 1), ("tram", NOON, NOON, 0, 2), ("bike", NOON, NOON, 0, 3)])
    naive_ns = table.slice(1, 1).set_column(1, "event_timestamp", pa.array([NOON.replace(tzinfo=None)], pa.timestamp("ns")))
    write(tmp_path / "a.parquet", table.slice(0, 1).set_column(6, "amount", pa.nulls(1)))
    write(tmp_path / "b.parquet", naive_ns.set_column(6, "amount", pa.array([1], pa.int32())))
    write(tmp_path / "c.parquet", table.slice(2, 1))

    read = read_events(source(tmp_path), ["amount"])

    assert read["amount"].to_pylist() == [None, 1, 2]
    assert read["amount"].type == pa.int64()
    assert read["event_timestamp"].to_pylist() == [NOON] * 3


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Oslo"])
def test_times_of_any_unit_and_zone_become_microseconds_in_utc(tmp_path, unit, zone):
    table = pa.table(
        {
            "event_timestamp": pa.array([NOON_US * 1000], pa.int64())
            .cast(pa.timestamp("ns", zone))
            .cast(pa.timestamp(unit, zone))
        }
    )
    write(tmp_path / "log.parquet", table)

    read = read_events(source(tmp_path / "log.parquet", created_timestamp_column=None), [])

    assert read.schema.field("event_timestamp").type == US
    assert read["event_timestamp"].to_pylist() == [NOON]


def test_nanoseconds_before_1970_are_cut_downwards(tmp_path):
    write(tmp_path / "log.parquet", pa.table({"event_timestamp": pa.array([-1, -1001], pa.timestamp("ns"))}))

    read = read_events(source(tmp_path / "log.parquet", created_timestamp_column=None), [])

    assert read["event_timestamp"].cast(pa.int64()).to_pylist() == [-1, -2]


def test_an_unknown_creation_is_the_time_of_the_event(tmp_path):
    write(tmp_path / "log.parquet", log([("taxi", NOON, None, None, None)]))

    assert read_events(source(tmp_path / "log.parquet"), [])["created_timestamp"].to_pylist() == [NOON]


def test_labels_are_events_of_the_instant_they_became_known(tmp_path):
    write(tmp_path / "log.parquet", log([("taxi", NOON, NOON + 90 * DAY, 0, 1)]))
    labels = source(tmp_path / "log.parquet", timestamp_field="created_timestamp", created_timestamp_column=None)

    read = read_events(labels, ["amount"])

    assert read["event_timestamp"].to_pylist() == [NOON + 90 * DAY]
    assert read["created_timestamp"].to_pylist() == [NOON + 90 * DAY]


def test_rows_beyond_the_newest_manifest_are_not_read(tmp_path):
    rows = [("a", NOON, NOON, 0, 4), ("b", NOON, NOON, 0, 5), ("c", NOON, NOON, 1, 0), ("d", NOON, NOON, None, None)]
    write(tmp_path / "log/archive-1.parquet", log(rows))
    commits = tmp_path / "log/_commits"
    commits.mkdir()
    (commits / "batch-000000000000.json").write_text(json.dumps({"end_offsets": {"0": 2}}))
    (commits / "batch-000000000001.json").write_text(json.dumps({"end_offsets": {"0": 4}}))
    (commits / "batch-000000000002.json").write_text('{"end_off')

    read = read_events(source(tmp_path / "log"), ["amount"])

    assert read["event_id"].to_pylist() == ["a", "d"]
    assert log_positions(source(tmp_path / "log")) == {0: 4}


def test_a_log_without_manifests_is_trusted_to_its_last_offsets(tmp_path):
    write(tmp_path / "log.parquet", log([("a", NOON, NOON, 0, 4), ("b", NOON, NOON, 2, 9), ("c", NOON, NOON, None, None)]))

    assert log_positions(source(tmp_path / "log.parquet")) == {0: 4, 2: 9}


def test_a_log_of_history_alone_has_no_positions_and_generation_0(tmp_path):
    write(tmp_path / "log/history-1.parquet", pa.table({"event_timestamp": pa.array([NOON], US)}))

    assert log_positions(source(tmp_path / "log")) == {}
    assert history_generation(source(tmp_path / "log")) == 0


def test_the_generation_of_the_history_is_read_from_its_commit(tmp_path):
    (tmp_path / "log/_commits").mkdir(parents=True)
    (tmp_path / "log/_commits/history.json").write_text(json.dumps({"generation": 3, "rows": 12}))

    assert history_generation(source(tmp_path / "log")) == 3


def test_a_missing_log_is_an_error_that_names_it_and_an_empty_folder_is_an_empty_log(tmp_path):
    (tmp_path / "empty").mkdir()

    with pytest.raises(LogNotFoundError, match=r"'payments'.*nowhere"):
        read_events(source(tmp_path / "nowhere"), ["amount"])
    assert read_events(source(tmp_path / "empty"), ["amount"], join_keys=["user_id"]).num_rows == 0
    assert log_positions(source(tmp_path / "empty")) == {}


def test_a_log_without_its_join_key_is_refused_and_an_absent_payload_column_is_null(tmp_path):
    write(tmp_path / "log.parquet", log([("a", NOON, NOON, None, None)]))

    with pytest.raises(LogSchemaError, match="no column 'merchant_id'; it has event_id"):
        read_events(source(tmp_path / "log.parquet"), [], join_keys=["merchant_id"])
    assert read_events(source(tmp_path / "log.parquet"), ["colour"])["colour"].to_pylist() == [None]


def test_columns_are_read_under_the_names_of_field_mapping(tmp_path):
    write(tmp_path / "log.parquet", log([("a", NOON, NOON, None, None)]).rename_columns({"amount": "betrag"}))
    mapped = source(tmp_path / "log.parquet", field_mapping=(("betrag", "amount"),))

    assert read_events(mapped, ["amount"])["amount"].to_pylist() == [0]


def test_keys_keep_only_their_events(tmp_path):
    write(
        tmp_path / "log.parquet",
        log([("a", NOON, NOON, None, None)] * 2).set_column(5, "user_id", pa.array(["ann", "bob"])),
    )

    read = read_events(source(tmp_path / "log.parquet"), ["amount"], join_keys=["user_id"], keys={"user_id": pa.array(["bob"])})

    assert read["user_id"].to_pylist() == ["bob"]


def test_a_range_of_time_keeps_its_start_and_leaves_out_its_end(tmp_path):
    rows = [("a", NOON - SECOND, NOON, None, None), ("b", NOON, NOON, None, None), ("c", NOON + HOUR, NOON, None, None)]
    write(tmp_path / "log.parquet", log(rows))

    read = read_events(source(tmp_path / "log.parquet"), [], since_us=NOON_US, until_us=NOON_US + 3_600_000_000)

    assert read["event_id"].to_pylist() == ["b"]


def test_a_range_of_time_decides_duplicates_as_the_whole_log_does(tmp_path):
    hops = [NOON + step * 59 * MINUTE for step in range(200)]
    write(tmp_path / "log.parquet", log([("taxi", at, at, 0, step) for step, at in enumerate(hops)]))
    since_us = NOON_US + 198 * 59 * 60 * 1_000_000

    whole = read_events(source(tmp_path / "log.parquet"), ["amount"])
    part = read_events(source(tmp_path / "log.parquet"), ["amount"], since_us=since_us)

    assert whole["amount"].to_pylist() == list(range(0, 200, 2))
    assert part["amount"].to_pylist() == [198]


def test_folders_of_days_outside_the_range_are_not_opened(tmp_path):
    write(tmp_path / "log/event_date=2024-03-10/a.parquet", log([("a", NOON, NOON, None, None)]))
    broken = tmp_path / "log/event_date=2023-01-01/b.parquet"
    broken.parent.mkdir()
    broken.write_bytes(b"not Parquet")

    read = read_events(source(tmp_path / "log"), ["amount"], since_us=NOON_US - 10)

    assert read["event_id"].to_pylist() == ["a"]


def test_rows_of_a_slowly_changing_table_are_all_read(tmp_path):
    write(tmp_path / "profile.parquet", log([("a", NOON, NOON + DAY, 0, 1), ("a", NOON, NOON + DAY, 0, 2)]))

    assert read_rows(source(tmp_path / "profile.parquet"), ["amount"])["amount"].to_pylist() == [0, 1]


def test_ids_are_left_out_where_no_rule_needs_them(tmp_path):
    write(tmp_path / "log.parquet", log([("a", NOON, NOON, None, None)]))

    read = read_events(source(tmp_path / "log.parquet"), [], with_ids=False)

    assert read["event_id"].type == pa.null()
