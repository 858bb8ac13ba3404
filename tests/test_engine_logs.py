"""An event log may be written in many ways, and says the same."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from engine_lab import (
    BY_USER,
    BY_USER_AND_MERCHANT,
    ENTITIES,
    NOON,
    SCHEMA,
    UTC_MICROSECONDS,
    Declared,
    Lab,
    View,
    column,
    differences,
    emptied,
    entities,
    event,
    history,
    instant,
    materialize,
    online,
    references,
    row,
    streamed,
    to_frame,
    to_table,
)
from feast import Field
from feast.types import Int64
from naive import DAY, FUNCTIONS, HOUR, MINUTE, SECOND

from plumbline.log_files import REOPENING_ROWS, open_log
from plumbline.view_spec import LogSource


def rewritten(kind: str, table: pa.Table) -> pa.Table:
    unit = {
        "nanoseconds": pa.timestamp("ns", "UTC"),
        "milliseconds": pa.timestamp("ms", "UTC"),
        "naive": pa.timestamp("us"),
    }
    text = {"large": pa.large_string(), "dictionary": pa.dictionary(pa.int32(), pa.string()), "views": pa.string_view()}
    new = {UTC_MICROSECONDS: unit.get(kind), pa.string(): text.get(kind)}
    return table.cast(pa.schema([field.with_type(new.get(field.type) or field.type) for field in table.schema]))


@pytest.mark.parametrize("kind", ["nanoseconds", "milliseconds", "naive", "large", "dictionary", "views"])
def test_a_logs_timestamps_and_text_may_be_of_any_arrow_type(kind, tmp_path, redis_server):
    lab = Lab(tmp_path, redis_server)
    recorded = [streamed(NOON - n * MINUTE, n, n, amount_cents=n, category="xyz"[n % 3]) for n in range(20)]
    pq.write_table(rewritten(kind, to_table(recorded)), lab.log / "part-0.parquet")
    store = lab.applied()
    rows = [row(NOON), row(NOON - 5 * MINUTE)]

    assert not differences(history(store, rows).to_arrow().to_pylist(), recorded, rows)


@pytest.mark.parametrize("layout", ["file", "parts", "by event_date"])
def test_a_log_is_a_file_or_a_folder_of_files(layout, tmp_path, redis_server):
    lab = Lab(tmp_path, redis_server)
    recorded = [streamed(NOON - n * 5 * HOUR, n, n, amount_cents=n) for n in range(20)]
    (lab.log / "part-0.parquet").unlink()
    for number, each in enumerate(recorded):
        folder = lab.log / f"event_date={instant(each['event_timestamp']):%Y-%m-%d}" if layout == "by event_date" else lab.log
        folder.mkdir(exist_ok=True)
        pq.write_table(to_table([each]), folder / f"part-{number}.parquet")
    (lab.log / "_scratch").mkdir()
    (lab.log / "_scratch" / "part-0.parquet").write_bytes(b"not a Parquet file")
    pq.write_table(to_table(recorded), lab.path / "one.parquet")
    source = lab.source(path=lab.path / "one.parquet" if layout == "file" else lab.log)
    store = lab.open()
    store.apply([*entities([BY_USER]), source, BY_USER.declared(source)])
    rows = [row(NOON), row(NOON - 2 * DAY)]

    assert not differences(history(store, rows, [BY_USER]).to_arrow().to_pylist(), recorded, rows, [BY_USER])


def test_a_manifest_says_how_far_the_log_can_be_trusted(tmp_path, redis_server):
    lab = Lab(tmp_path, redis_server)
    recorded = [streamed(NOON - n * MINUTE, n, n, partition=n % 2) for n in range(1, 9)]
    lab.write([*recorded, event(NOON - HOUR, 99)])
    (lab.log / "_commits").mkdir()
    (lab.log / "_commits" / "batch-000000000000.json").write_text(json.dumps({"end_offsets": {"0": 2}}))
    (lab.log / "_commits" / "batch-000000000001.json").write_text(json.dumps({"end_offsets": {"0": 4, "1": 3}}))
    store = lab.applied()

    counts = column(history(store, [row(NOON)]), "by_user__amount_cents_count_1d")

    assert counts == [5]  # offsets 2 and 4, 1 and 3, and the history row


def test_an_empty_log_gives_every_entity_the_empty_history(tmp_path, redis_server):
    lab = Lab(tmp_path, redis_server)
    (lab.log / "part-0.parquet").unlink()
    source = lab.source()
    view = View("early", ("user_id",), (Declared("amount_cents", ("sum", "max"), "1h"),))
    store = lab.open()
    store.apply([ENTITIES["user_id"], source, view.declared(source, schema=[Field(name="amount_cents", dtype=Int64)])])

    answer = history(store, [row(NOON)], [view]).to_arrow()

    assert answer.column("early__amount_cents_sum_1h").to_pylist() == [0]
    assert answer.column("early__amount_cents_max_1h").to_pylist() == [None]


def test_a_source_may_rename_the_columns_of_its_log(tmp_path, redis_server):
    lab = Lab(tmp_path, redis_server)
    recorded = [streamed(NOON - n * MINUTE, n, n, amount_cents=n) for n in range(5)]
    renamed = to_table(recorded).rename_columns({"user_id": "uid", "amount_cents": "cents"})
    pq.write_table(renamed, lab.log / "part-0.parquet")
    source = lab.source(field_mapping={"uid": "user_id", "cents": "amount_cents"})
    store = lab.open()
    store.apply([*entities([BY_USER]), source, BY_USER.declared(source)])

    answers = history(store, [row(NOON)], [BY_USER]).to_arrow().to_pylist()

    assert not differences(answers, recorded, [row(NOON)], [BY_USER])


def test_columns_of_further_types_keep_them(tmp_path, redis_server):
    lab = Lab(tmp_path, redis_server)
    recorded = pa.table({
        "user_id": ["ann"] * 3,
        "event_timestamp": pa.array([NOON - 3, NOON - 2, NOON - 1], pa.timestamp("us", "UTC")),
        "small": pa.array([7, -7, None], pa.int32()),
        "ratio": pa.array([0.1, float("nan"), 0.3], pa.float32()),
        "flag": pa.array([True, None, False]),
    })  # fmt: skip
    pq.write_table(recorded, lab.log / "part-0.parquet")
    source = lab.source(created_timestamp_column="")
    view = View("typed", ("user_id",), (
        Declared("small", FUNCTIONS, "1h"),
        Declared("ratio", FUNCTIONS, "1h"),
        Declared("flag", ("first", "last", "count"), "1h"),
    ))  # fmt: skip
    store = lab.open()
    store.apply([ENTITIES["user_id"], source, view.declared(source)])

    answer = history(store, [row(NOON)], [view]).to_arrow()
    materialize(store)

    assert answer.schema.field("typed__small_sum_1h").type == pa.int64()
    assert answer.schema.field("typed__small_min_1h").type == pa.int32()
    for got in (answer.to_pylist()[0], online(store, [row(0)], NOON, [view])[0]):
        assert (got["typed__small_sum_1h"], got["typed__small_min_1h"], got["typed__small_last_1h"]) == (0, -7, -7)
        assert got["typed__ratio_max_1h"] == float(np.float32(0.3))
        assert got["typed__ratio_count_1h"] == 2
        assert got["typed__ratio_sum_1h"] == pytest.approx(float(np.float32(0.1)) + float(np.float32(0.3)), rel=1e-12)
        assert (got["typed__flag_first_1h"], got["typed__flag_last_1h"], got["typed__flag_count_1h"]) == (
            True,
            False,
            2,
        )


def test_integer_ids_order_events_and_recognise_deliveries_on_both_sides(tmp_path, redis_server):
    schema = pa.schema([f.with_type(pa.int64()) if f.name == "event_id" else f for f in SCHEMA])
    lab = Lab(tmp_path, redis_server, schema=schema)
    recorded = [
        streamed(NOON, 0, event_id=10, amount_cents=1),
        streamed(NOON, 1, event_id=11, amount_cents=2),
        streamed(NOON, 2, event_id=10, amount_cents=3),
    ]
    store = emptied(lab, lab.applied([BY_USER]))
    lab.write(recorded[:2])
    materialize(store)
    store.push("events", to_table(recorded[2:], schema).to_pandas())
    lab.write(recorded)
    rows = [row(NOON + 1)]

    assert not differences(history(store, rows, [BY_USER]).to_arrow().to_pylist(), recorded, rows, [BY_USER])
    assert not differences(online(store, rows, NOON + 1, [BY_USER]), recorded, rows, [BY_USER], at=NOON + 1)


def test_a_label_counts_from_the_instant_it_was_reported(tmp_path, redis_server):
    lab = Lab(tmp_path, redis_server)
    reported = View("reported", ("merchant_id",), (Declared("amount_cents", ("count", "sum"), "30d"),))
    source = lab.source(
        "labels", timestamp_field="created_timestamp", created_timestamp_column="", tags={"allowed_lateness": "180d"}
    )
    lab.write([
        event(NOON - 40 * DAY, 1, created_timestamp=NOON, amount_cents=1),
        streamed(NOON - 3 * DAY, 0, 2, created_timestamp=NOON + HOUR, amount_cents=20),
        streamed(NOON - 3 * DAY, 1, 2, created_timestamp=NOON + 90 * DAY, amount_cents=300),  # delivered again
    ])  # fmt: skip
    store = lab.open()
    store.apply([ENTITIES["merchant_id"], source, reported.declared(source)])
    rows = [row(NOON), row(NOON + 1), row(NOON + 2 * HOUR), row(NOON + 91 * DAY)]

    for as_known in (False, True):
        assert column(history(store, rows, [reported], as_known), "reported__amount_cents_sum_30d") == [0, 1, 21, 0]


@pytest.mark.parametrize("early", ["lacks the column", "holds nothing but nulls in it"])
def test_a_column_that_an_early_file_lacks_is_known_from_a_later_one(early, tmp_path, redis_server):
    lab = Lab(tmp_path, redis_server)
    recorded = [event(NOON - 2 * MINUTE, amount_cents=None), event(NOON - MINUTE, amount_cents=7)]
    first = to_table(recorded[:1]).drop_columns("amount_cents")
    if early != "lacks the column":
        first = first.append_column("amount_cents", pa.nulls(1))
    pq.write_table(first, lab.log / "part-0.parquet")
    pq.write_table(to_table(recorded[1:]), lab.log / "part-1.parquet")

    store, rows = lab.applied(), [row(NOON)]

    assert not differences(history(store, rows).to_arrow().to_pylist(), recorded, rows)


def test_a_row_without_an_offset_is_history_whatever_partition_it_names(tmp_path, redis_server):
    lab = Lab(tmp_path, redis_server)
    recorded = [event(NOON - n * MINUTE) | {"source_partition": 0} for n in (1, 2)] + [streamed(NOON - 3 * MINUTE, 4)]
    store, rows = emptied(lab, lab.applied()), [row(NOON)]
    pq.write_table(to_table(recorded), lab.log / "part-0.parquet")

    materialize(store)

    for found in (history(store, rows).to_arrow().to_pylist(), online(store, rows, NOON)):
        assert found[0]["by_user__amount_cents_count_1d"] == 3


def test_a_join_key_in_folder_names_is_text(tmp_path, redis_server):
    lab = Lab(tmp_path, redis_server)
    (lab.log / "user_id=7").mkdir()
    (lab.log / "part-0.parquet").unlink(missing_ok=True)
    recorded = [event(NOON - MINUTE, user_id="7")]
    pq.write_table(to_table(recorded).drop_columns("user_id"), lab.log / "user_id=7" / "part-0.parquet")

    store, rows = lab.applied(), [row(NOON, user_id="7")]

    assert not differences(history(store, rows).to_arrow().to_pylist(), recorded, rows)


@pytest.mark.parametrize("asked", ["object", "category", "string[pyarrow]"])
def test_keys_that_files_keep_as_dictionaries_are_found_as_if_they_were_texts(asked, tmp_path, redis_server):
    lab, views = Lab(tmp_path, redis_server), (BY_USER, BY_USER_AND_MERCHANT)
    per_file, per_group = REOPENING_ROWS + 1, 7_000
    users = [None] * per_group + ["u1", "", "ü2", "not asked about", None] * per_file
    recorded = [
        event(NOON - n * SECOND, user_id=users[n], merchant_id=f"m{n % 7}", amount_cents=n) for n in range(2 * per_file)
    ]
    store = lab.applied(views)
    rows = [
        row(NOON - n * HOUR, user_id=user, merchant_id="m1") for n in (2, 3, 4) for user in ("ü2", "u1", None, "", "nobody")
    ]
    frame = to_frame(rows).astype({"user_id": asked})
    delta = {"column_encoding": {"user_id": "DELTA_BYTE_ARRAY"}}
    found = []
    for use_dictionary, encoded in ((True, {}), (False, {}), (False, delta)):
        for number, part in enumerate((recorded[:per_file], recorded[: per_file - 1 : -1])):
            path = lab.log / f"part-{number}.parquet"
            pq.write_table(to_table(part), path, use_dictionary=use_dictionary, row_group_size=per_group, **encoded)
        log = open_log(LogSource("events", str(lab.log), "event_timestamp", "created_timestamp", DAY))
        read = log.with_coded(["user_id", "merchant_id"]).read(["user_id", "event_id"])
        assert pa.types.is_dictionary(read.schema.field("user_id").type) == use_dictionary
        job = store.get_historical_features(entity_df=frame, features=references(views), full_feature_names=True)
        found.append(job.to_arrow())

    assert found[0].equals(found[1])
    assert found[0].equals(found[2])
    counts = found[0]["by_user_and_merchant__amount_cents_count_1h"].to_pylist()
    assert [count > 0 for count in counts] == [True, True, False, True, False] * 3
