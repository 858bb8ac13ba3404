"""A load by Spark: everything that came in is kept or quarantined, and the history is replaced in one step or not at all."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from ingest_lab import written

from feature_repo.event_schema import LABELS, TRANSACTIONS
from feature_repo.settings import PROJECT_ROOT, Settings
from pipelines.ingest import placing
from pipelines.ingest.refusals import LoadRefused
from pipelines.ingest.report import label_warnings
from pipelines.load import load

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

REAL_FILE = PROJECT_ROOT.parent / "shared" / "data" / "rees46_2019-10-01_first_3h.csv.gz"
SHOP_HEADER = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"
MAPPING = """\
event_id: tx
event_timestamp: {column: at, timezone: Europe/Berlin}
created_timestamp: seen
user_id: card
merchant_id: shop
event_type: {column: kind, values: {buy: payment, look: view}}
country: {constant: NO}
amount_cents: {column: eur, scale: 100}
label: {column: fraud, delay: 7d}
attributes:
  income: income
  card_type: {column: plastic, values: {D: debit, C: credit}}
  limit_cents: {column: limit, scale: 100}
scenario: why
"""
HEADER = "tx,at,seen,card,shop,kind,eur,fraud,income,plastic,limit,why\n"
FIRST = HEADER + (
    "t1,2026-03-01T10:00:00,2026-03-01T09:00:02Z,0007,shop-a,buy,164.95000000000002,1,1200,D,10,stolen\n"
    "t2,2026-03-01T10:00:01,2026-03-01T09:00:03Z,0007,,look,,,,,,\n"
    "t3,2026-03-29T02:30:00,2026-03-29T02:00:00Z,NA,shop-a,buy,1,0,1300,C,20.5,\n"
    "t4,2026-03-02T10:00:00,2026-03-02T10:00:00Z,NA,shop-a,buy,-1,0,1300,C,20.5,\n"
    "t5,2026-03-02T10:00:00,2026-03-02T10:00:00Z,NA,shop-a,buy,99999999999999,0,1300,C,20.5,\n"
    "t6,2.3.2026,2026-03-02T10:00:00Z,NA,shop-a,buy,1,0,1300,C,20.5,\n"
    "t7,2026-03-02T10:00:00,2026-03-02T10:00:00Z,NA,shop-a,steal,1,0,1300,C,20.5,\n"
    't8,2026-03-02T00:30:00,2026-03-02T10:00:00Z,"a ""b""\nc",shop-a,buy,0,0,1300,C,20.5,\n'
)
SECOND = HEADER + (
    "t1,2026-03-01T10:00:00,2026-03-01T09:00:02Z,0007,shop-b,buy,5,0,1200,D,10,\n"
    "t9,2026-03-03T10:00:00,2026-03-03T10:00:00Z,0007,shop-b,buy,5,0,900,D,10,\n"
    "t9,2026-03-03T10:00:00,2026-03-03T10:00:00Z,0007,shop-b,buy,6,0,900,D,10,\n"
    "t10,2026-03-03T10:00:00\n"
)
REASONS = {
    "duplicate": 2,
    "amount_cents is above 10^15": 1,
    "amount_cents is negative": 1,
    "event_timestamp is not a time (ISO 8601, or a number with a unit in the mapping)": 1,
    "event_timestamp never happened in its time zone": 1,
    "event_type has a value that is missing from its `values`": 1,
    "has too few fields": 1,
}


@dataclass
class Place:
    """A data directory with one source, loaded by `run()`; what was said is kept."""

    folder: Path
    spark: "SparkSession"
    said: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return Settings.from_env({"DATA_DIR": str(self.folder / "data"), **self.variables})

    def run(self, source: Path | None, mapping: Path | None = None) -> dict[str, Any]:
        self.said.clear()
        given = None if source is None else str(source)
        return load(self.settings, given, mapping, spark=self.spark, say=self.said.append)

    def rows(self, log: str) -> list[dict[str, Any]]:
        """Every row of a log, as any Parquet reader sees them, by event_id."""
        folder = self.settings.events_dir / log
        return pads.dataset(folder).to_table().sort_by("event_id").to_pylist()

    def files(self) -> dict[str, bytes]:
        root = self.settings.data_dir / "events"
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def messy(spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Two files with every kind of bad row, loaded once over an archive that was there before."""
    place = Place(tmp_path_factory.mktemp("messy"), spark)
    written(place.folder / "1.csv", b"\xef\xbb\xbf" + FIRST.encode())
    written(place.folder / "2.csv.gz", SECOND)
    written(place.folder / "mapping.yaml", MAPPING)
    archive_one_row(place.settings.transactions_path)
    place.run(place.folder / "[12].csv*", place.folder / "mapping.yaml")
    yield place
    shutil.rmtree(place.folder)


def archive_one_row(log: Path) -> None:
    day = log / "event_date=2026-03-01"
    day.mkdir(parents=True)
    row = {field.name: None for field in TRANSACTIONS} | {"event_id": "streamed", "source_partition": 0, "source_offset": 5}
    pq.write_table(pa.Table.from_pylist([row], TRANSACTIONS), day / "archive-000000000000-0.parquet")
    pq.write_table(pa.Table.from_pylist([row | {"source_partition": None}], TRANSACTIONS), day / "push-1.parquet")
    (log / "_commits").mkdir()
    (log / "_commits" / "batch-000000000000.json").write_text('{"end_offsets": {"0": 5}}')


def report(place: Place) -> dict[str, Any]:
    return json.loads((place.settings.reports_path / "load.json").read_text())


def test_rows_in_are_rows_kept_plus_rows_quarantined(messy: Place) -> None:
    assert "in 12 = kept 4 + quarantined 8" in messy.said
    assert report(messy)["quarantined_by_reason"] == REASONS
    assert len(messy.rows("transactions")) == 4 + 1
    assert sum(REASONS.values()) == 8


def test_the_report_says_of_each_mapped_column_what_was_kept_and_why_rows_were_refused(messy: Place) -> None:
    found = report(messy)

    assert list(found["columns"])[-4:] == ["scenario", "attributes.income", "attributes.card_type", "attributes.limit_cents"]
    assert found["columns"]["amount_cents"] == {
        "from": "eur x 100",
        "filled": 3,
        "empty": 1,
        "distinct": 3,
        "smallest": 0,
        "largest": 16495,
        "refused": {"is above 10^15": 1, "is negative": 1},
    }
    assert found["columns"]["event_timestamp"]["largest"] == "2026-03-03T09:00:00.000000Z"
    assert found["columns"]["country"]["from"] == "constant NO"
    assert found["columns"]["attributes.card_type"]["distinct"] == 2
    first = found["first_refused"]["amount_cents is negative"]
    assert (Path(first["file"]).name, first["row"], first["original"]) == ("1.csv", 4, FIRST.splitlines()[4])
    assert any(line.split()[:6] == ["amount_cents", "eur", "x", "100", "3", "1"] for line in messy.said)


def test_a_refused_row_is_in_quarantine_with_file_row_reason_and_original(messy: Place) -> None:
    quarantine = pads.dataset(messy.settings.quarantine_path).to_table().to_pylist()

    found = {(Path(row["file"]).name, row["row"]): (row["reason"], row["original"]) for row in quarantine}

    assert len(found) == len(quarantine) == 8
    assert found["1.csv", 4] == ("amount_cents is negative", FIRST.splitlines()[4])
    assert found["2.csv.gz", 1] == ("duplicate", SECOND.splitlines()[1])
    assert found["2.csv.gz", 3] == ("duplicate", SECOND.splitlines()[3])
    assert found["2.csv.gz", 4] == ("has too few fields", "t10,2026-03-03T10:00:00")


def test_of_rows_with_one_event_id_the_first_in_file_order_stays(messy: Place) -> None:
    rows = {row["event_id"]: row for row in messy.rows("transactions")}

    assert (rows["t1"]["merchant_id"], rows["t1"]["amount_cents"]) == ("shop-a", 16495)
    assert rows["t9"]["amount_cents"] == 500


def test_the_log_has_exactly_its_columns_in_microseconds_utc_under_the_utc_day(messy: Place) -> None:
    log = messy.settings.transactions_path
    histories = sorted(log.glob("*/history-*.parquet"))

    for file in histories:
        assert pq.read_schema(file).equals(TRANSACTIONS, check_metadata=False)
    assert [file.parent.name for file in histories] == [
        "event_date=2026-03-01",
        "event_date=2026-03-03",
    ]
    t8 = next(row for row in messy.rows("transactions") if row["event_id"] == "t8")
    assert t8["event_timestamp"].isoformat() == "2026-03-01T23:30:00+00:00"
    assert (t8["user_id"], t8["country"], t8["payment_cents"], t8["too_late"]) == ('a "b"\nc', "NO", 0, False)


def test_each_kept_event_with_a_label_gives_one_known_after_the_delay(messy: Place) -> None:
    labels = messy.rows("labels")

    assert [(row["event_id"], row["is_fraud"], row["fraud_amount_cents"]) for row in labels] == [
        ("t1", 1, 16495),
        ("t8", 0, None),
        ("t9", 0, None),
    ]
    assert labels[0]["created_timestamp"].isoformat() == "2026-03-08T09:00:00+00:00"
    assert labels[0]["transaction_event_id"] == "t1"
    assert report(messy)["labels"] == {"rows": 3, "frauds": 1, "known": 3, "known_frauds": 1, "undated": 0}
    assert pq.read_schema(next(messy.settings.labels_path.glob("*/*.parquet"))).equals(LABELS, check_metadata=False)


def test_a_delay_given_in_a_mapping_is_never_shrunk(messy: Place) -> None:
    found = report(messy)

    assert found["span_s"] == 2 * 86_400  # 1 March 09:00 to 3 March 09:00
    assert (found["label_delay_s"], found["label_delay_given"], found["gap_s"]) == (7 * 86_400, True, 7 * 86_400)
    assert found["account_horizon_s"] == found["span_s"] / 10


def test_attributes_are_typed_by_what_was_loaded(messy: Place) -> None:
    table = pads.dataset(messy.settings.events_dir / "user_attributes").to_table().sort_by("event_timestamp")

    assert report(messy)["attributes"] == {"income": "int64", "card_type": "string", "limit_cents": "int64"}
    assert table.column_names == ["user_id", "event_timestamp", "created_timestamp", "income", "card_type", "limit_cents"]
    assert [tuple(row.values())[3:] for row in table.to_pylist()] == [
        (1200, "debit", 1000),
        (1300, "credit", 2050),
        (900, "debit", 1000),
    ]


def test_attributes_keep_line_ends_names_that_differ_in_case_only_and_never_and_times_are_told_as_no_features(
    spark: "SparkSession", tmp_path: Path
) -> None:
    place = Place(tmp_path, spark)
    rows = 'when,who,floor,until\n2020-01-01,anna,"42\n",9999-12-31\n2020-01-02,berta,7,2020-02-02\n'
    attributes = (
        'Floor: floor, floor: {column: floor, values: {7: seven, "42\\n": many}}, until: {column: until, timezone: UTC}'
    )
    mapping = f"event_timestamp: when\nuser_id: who\nshift_to_now: true\nattributes: {{{attributes}}}\n"

    found = place.run(written(tmp_path / "a.csv", rows), written(tmp_path / "mapping.yaml", mapping))

    assert found["attributes"] == {"Floor": "string", "floor": "string", "until": "timestamp"}
    kept = pads.dataset(place.settings.events_dir / "user_attributes").to_table().sort_by("user_id").to_pylist()
    assert [(row["Floor"], row["floor"]) for row in kept] == [("42\n", "many"), ("7", "seven")]
    assert kept[0]["until"].year == 9999  # moved by years, it would leave the calendar
    assert kept[1]["until"] - kept[1]["event_timestamp"] == timedelta(days=31)
    assert any(warning.startswith("until: times are kept and are no feature") for warning in found["warnings"])


def test_scenario_is_kept_apart_from_the_log(messy: Place) -> None:
    scenario = pads.dataset(messy.settings.data_dir / "scenario").to_table().to_pylist()

    assert scenario == [{"event_id": "t1", "scenario": "stolen", "injected": False}]
    assert "scenario" not in pads.dataset(messy.settings.transactions_path).schema.names


def test_archived_rows_are_left_alone_and_rows_that_never_went_through_kafka_are_replaced(messy: Place) -> None:
    log = messy.settings.transactions_path

    assert [row["event_id"] for row in messy.rows("transactions")] == ["streamed", "t1", "t2", "t8", "t9"]
    assert json.loads((log / "_commits" / "batch-000000000000.json").read_text()) == {"end_offsets": {"0": 5}}
    assert not list(log.rglob("push-*"))


def test_a_second_run_gives_the_same_rows_and_raises_the_generation(messy: Place) -> None:
    before = {log: messy.rows(log) for log in ("transactions", "labels")}
    generation = json.loads((messy.settings.transactions_path / "_commits" / "history.json").read_text())["generation"]

    found = messy.run(messy.folder / "[12].csv*", messy.folder / "mapping.yaml")

    assert {log: messy.rows(log) for log in before} == before
    for log in before:
        manifest = json.loads((messy.settings.events_dir / log / "_commits" / "history.json").read_text())
        assert manifest["generation"] == generation + 1 == found["generation"]
        assert manifest["shift_us"] == 0
    assert any("states of generation" in sentence for sentence in messy.said)
    assert not (messy.settings.data_dir / ".loading").exists()


def test_a_refused_load_leaves_the_log_as_it_was(messy: Place) -> None:
    before = messy.files()
    cut = messy.folder / "cut.csv.gz"
    cut.write_bytes(gzip.compress((FIRST + "".join(f"x{n * n}\n" for n in range(9000))).encode())[:-2000])
    nothing = written(messy.folder / "nothing.csv", HEADER)
    hopeless = written(messy.folder / "hopeless.csv", HEADER + "".join(FIRST.splitlines(True)[4:5] * 3))

    for source, reason in (
        (cut, "truncated"),
        (nothing, "no row after the header"),
        (hopeless, "none of 3 rows could be kept; the commonest reason, 3 times: amount_cents is negative"),
    ):
        with pytest.raises(LoadRefused, match=reason):
            messy.run(source, messy.folder / "mapping.yaml")

    assert messy.files() == before


def test_a_load_is_refused_while_an_archive_lives_and_a_stale_pid_file_is_no_archive(messy: Place) -> None:
    pid_file = messy.settings.run_dir / "archive.pid"
    before = messy.files()

    pid_file.write_text(str(os.getpid()))
    with pytest.raises(LoadRefused, match="make stop"):
        messy.run(messy.folder / "1.csv", messy.folder / "mapping.yaml")
    pid_file.write_text(str(2**22 + 1))  # above Linux' largest pid: no process
    with pytest.raises(LoadRefused, match="No file matches"):
        messy.run(messy.folder / "absent.csv", messy.folder / "mapping.yaml")

    pid_file.unlink()
    assert messy.files() == before


def test_what_a_crash_left_between_two_renames_is_put_back(tmp_path: Path) -> None:
    settings = Settings.from_env({"DATA_DIR": str(tmp_path)})
    written_log = tmp_path / "events.replaced" / "transactions" / "history-00000.parquet"
    written_log.parent.mkdir(parents=True)
    written_log.write_bytes(b"old")
    (tmp_path / ".loading" / "events").mkdir(parents=True)

    with placing.scratch_space(settings) as scratch:
        assert list(scratch.iterdir()) == []

    assert (settings.transactions_path / "history-00000.parquet").read_bytes() == b"old"
    assert not (tmp_path / ".loading").exists()


def shop_rows(count: int) -> str:
    """`count` events of 40 users over three hours in the REES46 format; every tenth a purchase, every 25th a cart."""
    lines = [SHOP_HEADER]
    for n in range(count):
        seconds = n * 10_800 // count
        clock = f"2019-10-01 {seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d} UTC"
        kind = "purchase" if n % 10 == 0 else "cart" if n % 25 == 1 else "view"
        brand, category = ("", "shoes") if n % 3 else (f"brand-{n % 7}", "")
        lines.append(f"{clock},{kind},{n},1,{category},{brand},{5 + n * 37 % 400}.{n % 100:02d},user-{n % 40},s-{n % 60}")
    return "\n".join(lines) + "\n"


def test_rees46_needs_no_mapping_moves_to_now_and_gets_marked_simulated_frauds(spark: "SparkSession", tmp_path: Path) -> None:
    place = Place(tmp_path, spark)
    source = written(tmp_path / "shop.csv.gz", shop_rows(1200))

    found = place.run(source)

    rows = place.rows("transactions")
    scenario = {row["event_id"]: row for row in pads.dataset(tmp_path / "data" / "scenario").to_table().to_pylist()}
    real = [row for row in rows if row["event_id"] not in scenario]
    assert len(real) == found["rows_kept"] == 1200
    assert len(scenario) == found["injected"]["events"] == len(rows) - 1200
    assert all(row["injected"] for row in scenario.values())
    assert set(found["injected"]["scenarios"]) == {"card_testing", "account_takeover"}
    assert found["labels"]["known_frauds"] >= 100
    assert any("SIMULATED" in sentence for sentence in place.said)
    assert found["newest_event"] == found["loaded_at"]
    assert max(row["event_timestamp"] for row in rows) == max(row["event_timestamp"] for row in real)
    assert {row["event_type"] for row in real} == {"payment", "hold", "view"}
    assert {row["merchant_id"] for row in real} >= {"brand-0", "shoes"}
    tenth_s = found["span_s"] / 10
    assert (found["label_delay_s"], found["gap_s"], found["account_horizon_s"]) == (tenth_s, tenth_s, tenth_s)
    live = json.loads((tmp_path / "data" / "simulator" / "live.json").read_text())
    assert {user["user_id"] for user in live["users"]} == {f"user-{n}" for n in range(40)}


def test_the_simulator_goes_through_its_mapping_like_any_source(spark: "SparkSession", tmp_path: Path) -> None:
    place = Place(tmp_path, spark, variables={"SIMULATE_USERS": "60", "SIMULATE_DAYS": "10"})

    found = place.run(None)

    rows = place.rows("transactions")
    assert found["source"] == "simulator"
    assert found["rows_in"] == found["rows_kept"] == len(rows)
    assert found["rows_quarantined"] == 0
    assert found["newest_event"] == found["loaded_at"]
    assert not found["label_delay_given"]
    assert found["label_delay_s"] == found["gap_s"] == found["span_s"] / 10
    assert {"credit_score", "country"} <= set(found["attributes"])
    assert pads.dataset(place.settings.profiles_path).count_rows() >= 60
    market = pads.dataset(place.settings.events_dir / "market").to_table()
    assert market.num_rows == 10
    assert set(market.column_names) == {
        "event_timestamp", "created_timestamp", "policy_rate", "eur_usd", "crypto_usd", "is_promotion",
    }  # fmt: skip
    live = json.loads((tmp_path / "data" / "simulator" / "live.json").read_text())
    merchants = {name for user in live["users"] for name in user["merchants"]}
    assert merchants <= set(live["merchants"])
    assert sum(live["event_mix"].values()) == pytest.approx(1.0)
    assert "" in live["categories"]


@pytest.mark.skipif(not REAL_FILE.exists(), reason=f"the REES46 sample is not at {REAL_FILE}")
def test_every_row_of_the_real_sample_is_kept_but_its_exact_repetitions(spark: "SparkSession", tmp_path: Path) -> None:
    place = Place(tmp_path, spark)

    found = place.run(REAL_FILE)

    assert (found["rows_in"], found["rows_kept"]) == (17_434, 17_429)
    assert found["quarantined_by_reason"] == {"duplicate": 5}
    real = pads.dataset(place.settings.transactions_path).to_table(
        filter=~pads.field("event_id").isin(pads.dataset(tmp_path / "data" / "scenario").to_table()["event_id"])
    )
    kinds = {row["values"]: row["counts"] for row in real["event_type"].value_counts().to_pylist()}
    assert kinds == {"view": 17_051, "payment": 214, "hold": 164}
    assert found["labels"]["known_frauds"] >= 100


def test_labels_that_are_all_of_one_kind_are_warned_about() -> None:
    assert label_warnings({"rows": 9, "frauds": 2, "undated": 0}) == []
    assert label_warnings({"rows": 0, "frauds": 0, "undated": 0}) == []
    [said] = label_warnings({"rows": 9, "frauds": 0, "undated": 0})
    assert said == "labels: none of 9 labels says fraud; is `positive` in the mapping right?"


def test_labels_written_otherwise_and_labels_without_an_instant_are_counted_and_told(
    spark: "SparkSession", tmp_path: Path
) -> None:
    place = Place(tmp_path, spark)
    texts = ["fraud", "fraud", "ok", "ok", "ok", " Fraud", "NA", ""]
    lines = [f"2026-03-0{n + 1},u{n},{text},{'' if text == 'ok' else '2026-04-01'}\n" for n, text in enumerate(texts)]
    written(tmp_path / "a.csv", "at,who,verdict,told\n" + "".join(lines))
    rules = "label: {column: verdict, positive: fraud, created_timestamp: told}\n"
    written(tmp_path / "mapping.yaml", "event_timestamp: at\nuser_id: who\n" + rules)

    found = place.run(tmp_path / "a.csv", tmp_path / "mapping.yaml")

    assert [row["is_fraud"] for row in sorted(place.rows("labels"), key=lambda row: row["user_id"])] == [1, 1, 0, 0]
    assert (found["labels"]["rows"], found["labels"]["undated"], found["columns"]["label"]["filled"]) == (4, 3, 7)
    assert "labels read as fraud: 'fraud' (2)" in place.said
    assert "labels read as honest: 'ok' (3), ' Fraud' (1), 'NA' (1)" in place.said
    undated, otherwise, nothing = (warning for warning in found["warnings"] if warning.startswith("labels: "))
    assert undated.startswith("labels: 3 were left out, for nothing says when they were known")
    assert otherwise.startswith("labels: ' Fraud', in 1 rows, was read as honest, for `positive` is 'fraud'; write them alike")
    assert nothing.startswith("labels: 'NA', in 1 rows, was read as honest")
    assert "leave the field empty" in nothing


def test_the_command_exits_with_one_clear_line_when_it_refuses(tmp_path: Path) -> None:
    source = written(tmp_path / "cards.csv", "booked,client\n2026-01-01,anna\n")
    command = [sys.executable, "-m", "pipelines.load", "--source", str(source)]

    done = subprocess.run(
        command, cwd=PROJECT_ROOT, env=os.environ | {"DATA_DIR": str(tmp_path)}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert done.stderr.startswith(f"make data: refused, the log is as it was. {source} is not in the REES46 format")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "events").exists()
