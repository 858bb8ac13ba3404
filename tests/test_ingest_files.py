"""Files are read strictly: a bad row is refused alone, a bad file refuses the load, and no good row is lost."""

import datetime as dt
import gzip
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ingest_lab import PLAIN, instant, parsed, written

from pipelines.ingest.refusals import LoadRefused
from pipelines.ingest.source_files import source_files

HEADER = "when,who,paid\n"
GOOD = "2026-01-01,anna,1\n"


def users(folder: Path, content: str | bytes | Path) -> list[str]:
    return [row["user_id"] for row in parsed(folder, content).kept]


def refusal(folder: Path, content: str | bytes | Path) -> str:
    """Why the load is refused whole: found while the header is read, or later."""
    try:
        [message] = parsed(folder, content).fatal
    except LoadRefused as refused:
        return str(refused)
    return message


def test_quotes_hold_commas_quotes_and_line_ends(tmp_path: Path) -> None:
    found = parsed(tmp_path, HEADER + '2026-01-01,"a ""b"", c\nd\r\ne",1\n' + GOOD)

    assert [row["user_id"] for row in found.kept] == ['a "b", c\nd\r\ne', "anna"]
    assert [row["row"] for row in found.kept] == [1, 2]


def test_a_byte_order_mark_is_not_part_of_the_first_column(tmp_path: Path) -> None:
    assert users(tmp_path, b"\xef\xbb\xbf" + (HEADER + GOOD).encode()) == ["anna"]


def test_only_the_empty_field_is_null_and_ids_are_text_as_written(tmp_path: Path) -> None:
    rows = "".join(f"2026-01-01,{who},1\n" for who in ("0007", "NA", "null", "NaN", "None", "1e5", " x ", '""'))

    found = parsed(tmp_path, HEADER + rows)

    assert [row["user_id"] for row in found.kept] == ["0007", "NA", "null", "NaN", "None", "1e5", " x "]
    assert found.reasons == ["user_id is empty"]


def test_rows_with_too_many_or_too_few_fields_a_nul_or_broken_quotes_are_refused_alone(tmp_path: Path) -> None:
    lines = [
        "2026-01-01,few",
        "2026-01-01,many,1,2",
        "2026-01-01,nu\0l,1",
        "",
        '2026-01-01,"broken"quote,1',
        '2026-01-01,"opened,1',
        '2026-01-02,"good",1',  # its first quote closes the one before: only the opening line may be lost
        "2026-01-03,last,1",
        "",
        "",
    ]

    found = parsed(tmp_path, HEADER + "\n".join(lines))

    assert found.refused == [
        (1, "has too few fields", "2026-01-01,few"),
        (2, "has too many fields", "2026-01-01,many,1,2"),
        (3, "holds a NUL character", "2026-01-01,nu\0l,1"),
        (4, "has too few fields", ""),
        (5, "breaks the quoting rules of RFC 4180", '2026-01-01,"broken"quote,1'),
        (6, "breaks the quoting rules of RFC 4180", '2026-01-01,"opened,1'),
    ]
    assert [row["user_id"] for row in found.kept] == ["good", "last"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.text(alphabet='",\n\r\0 0a.-Z', max_size=60))
def test_whatever_stands_in_a_file_every_row_is_kept_or_refused_or_the_load_is(tmp_path: Path, body: str) -> None:
    try:
        found = parsed(tmp_path, HEADER + GOOD + body + "\n" + GOOD)
    except LoadRefused:
        return

    if not found.fatal:
        places = sorted([row["row"] for row in found.kept] + [row for row, _, _ in found.refused])
        assert places == list(range(1, len(places) + 1))
        assert found.kept[0]["user_id"] == "anna"


def test_columns_are_matched_by_name_in_every_file(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    written(folder / "a.csv", HEADER + GOOD)
    written(folder / "b.csv.gz", "paid,note,who,when\n2,x,berta,2026-01-02\n")

    found = parsed(tmp_path, folder)

    assert [(row["user_id"], row["amount_cents"]) for row in found.kept] == [("anna", 100), ("berta", 200)]
    assert [row["file"] for row in found.kept] == [0, 1]


def test_a_file_that_lacks_a_mapped_column_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(LoadRefused, match=r"source\.csv has no column 'paid'.*Did you mean 'payd'"):
        parsed(tmp_path, "when,who,payd\n" + GOOD)


@pytest.mark.parametrize(("mark", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_a_file_that_is_separated_by_something_else_is_refused_with_what_it_is(tmp_path: Path, mark: str, name: str) -> None:
    with pytest.raises(LoadRefused, match=f"separated by {name}: write the file anew with commas"):
        parsed(tmp_path, mark.join(["when", "who", "paid"]) + "\n" + mark.join(["2026-01-01", "anna", "12,34"]) + "\n")


def test_a_mapped_column_that_stands_twice_is_refused_and_an_unmapped_one_is_not(tmp_path: Path) -> None:
    with pytest.raises(LoadRefused, match=r"has the column 'who'.* 2 times"):
        parsed(tmp_path, "when,who,paid,who\n2026-01-01,a,1,b\n")

    assert users(tmp_path, "when,x,who,paid,x\n2026-01-01,1,anna,1,2\n") == ["anna"]


@pytest.mark.parametrize("content", ["", "\n", ",,\n"])
def test_a_file_without_a_header_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(LoadRefused, match="has no header"):
        parsed(tmp_path, content)


def test_a_truncated_gz_refuses_the_load(tmp_path: Path) -> None:
    whole = gzip.compress((HEADER + "".join(f"2026-01-01,user-{n * n},1\n" for n in range(5000))).encode())
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(whole[: len(whole) // 2])

    assert f"{cut} is truncated" in refusal(tmp_path, cut)


def test_a_corrupt_gz_refuses_the_load(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress((HEADER + GOOD * 50).encode()))
    whole[-6] ^= 0xFF  # the checksum
    corrupt = tmp_path / "corrupt.csv.gz"
    corrupt.write_bytes(whole)

    assert f"{corrupt} is corrupt" in refusal(tmp_path, corrupt)


@pytest.mark.parametrize("name", ["plain.csv.gz", "plain.parquet"])
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(HEADER + GOOD)

    with pytest.raises(LoadRefused, match="does not begin like one"):
        source_files(str(tmp_path / name))


def test_a_file_that_is_not_utf8_refuses_the_load(tmp_path: Path) -> None:
    at_once = HEADER.encode() + b"2026-01-01,J\xf6rg,1\n"
    late = HEADER.encode() + GOOD.encode() * 5000 + b"2026-01-01,J\xf6rg,1\n"

    assert "is not UTF-8 (byte 0xf6)" in refusal(tmp_path, at_once)
    assert "is not UTF-8 (byte 0xf6)" in refusal(tmp_path, late)


def test_a_quote_that_is_never_closed_refuses_the_load(tmp_path: Path) -> None:
    content = HEADER + GOOD + '2026-01-01,"open,1\n' + GOOD

    assert "row 2 opens a quote that is never closed" in refusal(tmp_path, content)


def test_a_source_that_matches_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadRefused, match="No file matches"):
        source_files(str(tmp_path / "*.csv"))


def test_parquet_times_are_cut_to_microseconds_and_local_ones_take_the_time_zone(tmp_path: Path) -> None:
    path = tmp_path / "times.parquet"
    table = {
        "when": pa.array([1_767_225_600_123_456_789, None], pa.timestamp("ns")),
        "known": pa.array([dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)] * 2, pa.timestamp("ms", tz="America/Lima")),
        "who": pa.array([7, 8], pa.int64()),
        "paid": pa.array([164.95000000000002, 1.0]),
    }
    pq.write_table(pa.table(table), path)
    mapping = PLAIN.replace("event_timestamp: when", "event_timestamp: {column: when, timezone: Asia/Tokyo}")

    found = parsed(tmp_path, path, mapping + "created_timestamp: known\n")

    [row] = found.kept
    assert instant(row["event_timestamp"]) == "2025-12-31T15:00:00.123456Z"
    assert instant(row["created_timestamp"]) == "2026-01-01T12:00:00.000000Z"
    assert (row["user_id"], row["amount_cents"]) == ("7", 16495)
    assert found.reasons == ["event_timestamp is empty"]


def test_parquet_values_keep_their_meaning(tmp_path: Path) -> None:
    path = tmp_path / "values.parquet"
    table = {
        "when": pa.array([dt.date(2026, 1, 1)] * 6),
        "who": pa.array(["a", "b", "c", "d", "e", "f\0"]).dictionary_encode(),
        "paid": pa.array([Decimal("1.05"), Decimal("0.10"), None, Decimal("-1.00"), Decimal("7.00"), Decimal("1.00")]),
        "shop": pa.array([596.0, None, float("nan"), 1.5, 2.0, 3.0]),
        "unmapped": pa.array([[1], None, [], [2], [3], [4]]),
    }
    pq.write_table(pa.table(table), path)

    found = parsed(tmp_path, path, PLAIN + "merchant_id: shop\n")

    assert [(row["merchant_id"], row["amount_cents"]) for row in found.kept] == [
        ("596", 105),
        (None, 10),
        (None, None),
        ("2", 700),
    ]
    assert found.reasons == ["amount_cents is negative", "holds a NUL character"]


def test_a_truncated_parquet_file_and_a_column_that_cannot_be_mapped_are_refused(tmp_path: Path) -> None:
    nested = tmp_path / "nested.parquet"
    pq.write_table(pa.table({"when": ["2026-01-01"], "who": [["a", "b"]], "paid": [1]}), nested)
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(nested.read_bytes()[:-20])

    with pytest.raises(LoadRefused, match=r"cut\.parquet is not readable as Parquet"):
        parsed(tmp_path, cut)
    with pytest.raises(LoadRefused, match=r"'who' is list"):
        parsed(tmp_path, nested)


def test_old_int96_timestamps_far_from_now_are_refused_and_never_wrap_into_our_time(tmp_path: Path) -> None:
    path = tmp_path / "spark2.parquet"
    when = [1_767_225_600_123_456, 19_880_899_200_000_000]  # the second is 2600, which as nanoseconds reads as 2015
    table = pa.table({"when": pa.array(when, pa.timestamp("us")), "who": ["now", "far"], "paid": [1.0, 1.0]})
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)

    found = parsed(tmp_path, path)

    assert [instant(row["event_timestamp"]) for row in found.kept] == ["2026-01-01T00:00:00.123456Z"]
    assert found.reasons == ["event_timestamp is more than a day ahead"]


def test_the_first_of_several_columns_that_is_not_empty_counts_and_nan_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "shops.parquet"
    table = {"when": ["2026-01-01"] * 2, "who": ["a", "b"], "paid": [1.0] * 2, "shop": [float("nan"), 5.0], "chain": ["c", "d"]}
    pq.write_table(pa.table(table), path)

    found = parsed(tmp_path, path, PLAIN + "merchant_id: {column: [shop, chain]}\n")

    assert [row["merchant_id"] for row in found.kept] == ["c", "5"]


def test_half_precision_amounts_are_read_and_a_nested_column_stays_in_the_original(tmp_path: Path) -> None:
    path = tmp_path / "half.parquet"
    paid = pa.array([1.5, -1.0], pa.float32()).cast(pa.float16())
    pq.write_table(pa.table({"when": ["2026-01-01"] * 2, "who": ["a", "b"], "paid": paid, "x": [{"y": [1]}, {"y": [2]}]}), path)

    found = parsed(tmp_path, path)

    assert [row["amount_cents"] for row in found.kept] == [150]
    assert found.refused[0][2] == '{"when": "2026-01-01", "who": "b", "paid": -1.0, "x": {"y": [2]}}'
