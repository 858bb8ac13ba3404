"""Times and amounts: to the microsecond, to the cent, and never a guess."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ingest_lab import NOW_US, PLAIN, instant, parsed

from feature_repo.event_schema import MAX_AMOUNT_CENTS
from pipelines.ingest.attribute_types import INFERRED, declared_type, inferred_type, looks_like
from pipelines.ingest.rules import Rule

BERLIN = "event_timestamp: {column: when, timezone: Europe/Berlin}\nuser_id: who\n"


def one_time(folder: Path, text: str, rule: str = "when") -> str:
    """The instant of one time text, or the reason why its row is refused."""
    found = parsed(folder, f'when,who\n"{text}",anna\n', f"event_timestamp: {rule}\nuser_id: who\n")
    return instant(found.kept[0]["event_timestamp"]) if found.kept else found.reasons[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2019-10-01 00:00:00 UTC", "2019-10-01T00:00:00.000000Z"),
        ("2019-10-01T02:00:00+02:00", "2019-10-01T00:00:00.000000Z"),
        ("2019-10-01T02:00:00.5-0530", "2019-10-01T07:30:00.500000Z"),
        ("2019-10-01", "2019-10-01T00:00:00.000000Z"),
        ("20191001T000102Z", "2019-10-01T00:01:02.000000Z"),
        ("2019-10-01t00:01:02z", "2019-10-01T00:01:02.000000Z"),
        ("2019-10-01T00:00:00.123456789Z", "2019-10-01T00:00:00.123456Z"),
        ("2020-02-29T12:00", "2020-02-29T12:00:00.000000Z"),
        ("2020-02-29T12Z", "2020-02-29T12:00:00.000000Z"),
        ("2020-02-29T12-03", "2020-02-29T15:00:00.000000Z"),
        ("2020-W09-6", "2020-02-29T00:00:00.000000Z"),
        ("2020-060T12:00:30", "2020-02-29T12:00:30.000000Z"),
        ("2020-W54-1", "event_timestamp is not a time (no such date)"),
        ("2019-366", "event_timestamp is not a time (no such date)"),
        ("2019-02-29T12:00", "event_timestamp is not a time (no such date)"),
        ("2019-10-01T24:00:00", "event_timestamp is not a time (no such hour)"),
        ("2019-10-01T23:60:00", "event_timestamp is not a time (no such hour)"),
        ("01/10/2019", "event_timestamp is not a time (ISO 8601, or a number with a unit in the mapping)"),
        ("1569888000", "event_timestamp is not a time (ISO 8601, or a number with a unit in the mapping)"),
        ("yesterday", "event_timestamp is not a time (ISO 8601, or a number with a unit in the mapping)"),
        ("1969-12-31T23:59:59Z", "event_timestamp is before 1970"),
        ("2099-01-01T00:00:00Z", "event_timestamp is more than a day ahead"),
        ("", "event_timestamp is empty"),
    ],
)
def test_a_time_is_iso_8601_and_its_offset_wins(tmp_path: Path, text: str, expected: str) -> None:
    assert one_time(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("1569888000", "s", "2019-10-01T00:00:00.000000Z"),
        ("1569888000.0000019999999999999", "s", "2019-10-01T00:00:00.000001Z"),
        ("1569888000123.4567", "ms", "2019-10-01T00:00:00.123456Z"),
        ("1569888000123456", "us", "2019-10-01T00:00:00.123456Z"),
        ("-1", "s", "event_timestamp is before 1970"),
        ("9" * 400, "s", "event_timestamp is more than a day ahead"),
    ],
)
def test_a_number_is_a_time_in_the_unit_of_the_mapping(tmp_path: Path, text: str, unit: str, expected: str) -> None:
    assert one_time(tmp_path, text, f"{{column: when, unit: {unit}}}") == expected


def test_local_times_that_happened_twice_or_never_are_refused(tmp_path: Path) -> None:
    rows = [
        "2025-03-30T01:59:59,a",  # 01:59 -> 03:00
        "2025-03-30T02:30:00,never",
        "2025-03-30T03:00:00,b",
        "2025-10-26T01:59:59,c",
        "2025-10-26T02:30:00,twice",  # 02:59 -> 02:00
        "2025-10-26T02:30:00+01:00,d",  # the offset says which
        "2025-10-26T03:00:00,e",
    ]

    found = parsed(tmp_path, "when,who\n" + "\n".join(rows), BERLIN)

    assert found.reasons == [
        "event_timestamp never happened in its time zone",
        "event_timestamp happened twice in its time zone",
    ]
    assert [instant(row["event_timestamp"])[:19] for row in found.kept] == [
        "2025-03-30T00:59:59",
        "2025-03-30T01:00:00",
        "2025-10-25T23:59:59",
        "2025-10-26T01:30:00",
        "2025-10-26T02:00:00",
    ]


def test_a_day_ahead_is_the_limit_and_created_may_not_precede_the_event(tmp_path: Path) -> None:
    mapping = PLAIN + "created_timestamp: {column: known, unit: us}\n"
    mapping = mapping.replace("event_timestamp: when", "event_timestamp: {column: when, unit: us}")
    day = 86_400_000_000
    lines = [
        f"{NOW_US + day},a,1,{NOW_US + day}",
        f"{NOW_US + day + 1},b,1,{NOW_US + day + 1}",
        f"{NOW_US},c,1,{NOW_US - 1}",
        f"{NOW_US},d,1,",
    ]

    found = parsed(tmp_path, "when,who,paid,known\n" + "\n".join(lines), mapping)

    assert [row["user_id"] for row in found.kept] == ["a"]
    assert found.reasons == [
        "event_timestamp is more than a day ahead",
        "created_timestamp is before event_timestamp",
        "created_timestamp is empty",
    ]


@pytest.mark.parametrize(
    ("text", "cents"),
    [
        ("164.95000000000002", 16495),
        ("0.1", 10),
        ("0.005", 1),
        ("0.00499999999999999999999999999999999", 0),
        ("35", 3500),
        ("0", 0),
        ("-0.00", 0),
        (".5", 50),
        ("10000000000000.00", MAX_AMOUNT_CENTS),
        ("", None),
    ],
)
def test_amounts_are_decimal_arithmetic_to_the_cent(tmp_path: Path, text: str, cents: int | None) -> None:
    found = parsed(tmp_path, f"when,who,paid\n2026-01-01,anna,{text}\n")

    assert [row["amount_cents"] for row in found.kept] == [cents]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('"12,34"', "amount_cents is not a plain decimal number"),
        ("$5", "amount_cents is not a plain decimal number"),
        ("1e3", "amount_cents is not a plain decimal number"),
        (" 5", "amount_cents is not a plain decimal number"),
        ("1_000", "amount_cents is not a plain decimal number"),
        ("٣", "amount_cents is not a plain decimal number"),
        ("NA", "amount_cents is not a plain decimal number"),
        ("-5", "amount_cents is negative"),
        ("-0.001", "amount_cents is negative"),
        ("inf", "amount_cents is not finite"),
        ("NaN", "amount_cents is not finite"),
        ("10000000000000.01", "amount_cents is above 10^15"),
        ("9" * 5000, "amount_cents is above 10^15"),
    ],
)
def test_what_is_not_an_amount_is_refused_with_its_row(tmp_path: Path, text: str, reason: str) -> None:
    found = parsed(tmp_path, f"when,who,paid\n2026-01-01,anna,{text}\n2026-01-01,berta,1\n")

    assert found.refused == [(1, reason, f"2026-01-01,anna,{text}")]
    assert [row["user_id"] for row in found.kept] == ["berta"]


def test_an_id_made_from_a_row_is_the_hash_of_its_mapped_values_only(tmp_path: Path) -> None:
    text = "when,who,paid,note\n2026-01-01,anna,1,x\n2026-01-01T00:00:00Z,anna,1.00,y\n2026-01-01,anna,2,x\n"

    first, same, other = (row["event_id"] for row in parsed(tmp_path, text).kept)
    again = parsed(tmp_path, text).kept[0]["event_id"]

    assert first == same == again == "04e5d53839c8267458b5f770b7886a8d"  # sha256 of the sorted JSON
    assert other != first


def test_a_value_missing_from_values_is_refused_and_an_empty_one_is_null(tmp_path: Path) -> None:
    mapping = PLAIN + "event_type: {column: what, values: {buy: payment, none: ''}}\n"
    text = "when,who,paid,what\n2026-01-01,a,1,buy\n2026-01-01,b,1,steal\n2026-01-01,c,1,\n2026-01-01,d,1,none\n"

    found = parsed(tmp_path, text, mapping)

    assert [(row["user_id"], row["event_type"]) for row in found.kept] == [("a", "payment"), ("c", None), ("d", None)]
    assert found.reasons == ["event_type has a value that is missing from its `values`"]


def test_without_a_rule_every_event_is_a_payment_and_other_columns_are_null(tmp_path: Path) -> None:
    [row] = parsed(tmp_path, "when,who,paid\n2026-01-01,anna,1\n").kept

    assert row["event_type"] == "payment"
    assert row["created_timestamp"] == row["event_timestamp"]
    assert row["merchant_id"] is row["country"] is row["is_fraud"] is None


def test_labels_are_read_as_truths_or_by_the_positive_value(tmp_path: Path) -> None:
    text = "when,who,paid,bad\n2026-01-01,a,1,1\n2026-01-01,b,1,FALSE\n2026-01-01,c,1,\n"
    good_is_one = "when,who,paid,good\n2026-01-01,a,1,1\n2026-01-01,b,1,0\n2026-01-01,c,1,-1\n"

    truths = parsed(tmp_path, text, PLAIN + "label: {column: bad, delay: 7d}\n").kept
    positive = parsed(tmp_path, good_is_one, PLAIN + "label: {column: good, positive: 0}\n").kept

    assert [row["is_fraud"] for row in truths] == [1, 0, None]
    assert instant(truths[0]["known_us"]) == "2026-01-08T00:00:00.000000Z"
    assert truths[2]["known_us"] is None
    assert [row["is_fraud"] for row in positive] == [0, 1, 0]


@pytest.mark.parametrize("rule", ["bad", "{column: bad, positive: 1.0}", "{column: bad, positive: 1}"])
@pytest.mark.parametrize("kind", [pa.int8(), pa.float32(), pa.decimal128(5, 2)])
def test_a_number_of_parquet_is_a_label_by_its_value(tmp_path: Path, rule: str, kind: pa.DataType) -> None:
    columns = {"when": ["2026-01-01"] * 3, "who": ["a", "b", "c"], "bad": pa.array([1, 0, None], pa.int8()).cast(kind)}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")

    found = parsed(tmp_path, tmp_path / "a.parquet", f"event_timestamp: when\nuser_id: who\nlabel: {rule}\n")

    assert [row["is_fraud"] for row in found.kept] == [1, 0, None]


@pytest.mark.parametrize(
    ("positive", "texts", "read"),
    [
        ("true", ["True", "FALSE", "1", "0.0"], [1, 0, 1, 0]),
        ("1", ["1.0", "0.0", "True", "10"], [1, 0, 1, 0]),
        ("1.0", ["1", "0", "1.00"], [1, 0, 1]),
        ("0", ["False", "true", "0.0", "00"], [1, 0, 1, 0]),
        ("F", ["f", "F"], [0, 1]),
    ],
)
def test_what_is_true_or_false_is_one_label_however_it_is_written(
    tmp_path: Path, positive: str, texts: list[str], read: list[int]
) -> None:
    text = "when,who,bad\n" + "".join(f"2026-01-01,u,{each}\n" for each in texts)

    found = parsed(tmp_path, text, f"event_timestamp: when\nuser_id: who\nlabel: {{column: bad, positive: '{positive}'}}\n")

    assert [row["is_fraud"] for row in found.kept] == read


@pytest.mark.parametrize("positive", ["true", "True", "1"])
@pytest.mark.parametrize("kind", [pa.bool_(), pa.int8()])
def test_truths_of_parquet_are_labels_however_positive_says_true(tmp_path: Path, positive: str, kind: pa.DataType) -> None:
    columns = {"when": ["2026-01-01"] * 3, "who": ["a", "b", "c"], "bad": pa.array([True, False, None]).cast(kind)}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    rule = f"event_timestamp: when\nuser_id: who\nlabel: {{column: bad, positive: {positive}}}\n"

    found = parsed(tmp_path, tmp_path / "a.parquet", rule)

    assert [row["is_fraud"] for row in found.kept] == [1, 0, None]


def test_a_label_that_cannot_be_read_refuses_the_load(tmp_path: Path) -> None:
    text = "when,who,paid,bad\n2026-01-01,a,1,1\n2026-01-01,b,1,chargeback\n"

    found = parsed(tmp_path, text, PLAIN + "label: {column: bad}\n")

    assert len(found.fatal) == 1
    assert "row 2" in found.fatal[0]
    assert "'chargeback'" in found.fatal[0]
    assert "positive:" in found.fatal[0]


@pytest.mark.parametrize(
    ("text", "rule", "kept"),
    [
        ("1950-06-01", "timezone: UTC", "-618105600000000"),
        ("1950-06-01T01:00:00", "timezone: Europe/Berlin", "-618105600000000"),  # +01:00, before 1970 too
        ("-618105600.5", "unit: s", "-618105600500000"),
        ("9999-12-31", "timezone: UTC", "253402214400000000"),
        ("1" + "0" * 30, "unit: ms", "born is not a time (outside the years 1 to 9999)"),
        ("12.50", "scale: 100", "1250"),
        ("-0.00", "scale: 100", "0"),
        ("0.125", "scale: 1", "0.125"),
        ("9" * 5000, "scale: 1", "born is above 10^30"),
        ("12 EUR", "scale: 1", "born is not a plain decimal number"),
    ],
)
def test_an_attribute_may_lie_long_ago_or_ahead_and_keeps_its_exact_value(
    tmp_path: Path, text: str, rule: str, kept: str
) -> None:
    mapping = PLAIN + f"attributes: {{born: {{column: birth, {rule}}}}}\n"

    found = parsed(tmp_path, f"when,who,paid,birth\n2026-01-01,anna,1,{text}\n", mapping)

    assert [row["extra_born"] for row in found.kept] + found.reasons == [kept]


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "-5"], "int64"),
        (["1.5", "2"], "double"),
        (["0007"], "string"),
        (["1e5"], "string"),
        (["12345678901234567890"], "string"),  # more digits than an int64 holds
        (["12345678901234567", "1.5"], "string"),  # more than a double holds
    ],
)
def test_a_number_that_no_number_type_keeps_stays_text(texts: list[str], kind: str) -> None:
    looks = [looks_like(text) for text in texts]

    assert inferred_type(INFERRED, True, all(i for i, _ in looks), all(n for _, n in looks)) == kind


def test_decimals_and_unsigned_numbers_of_parquet_are_typed_by_their_values_and_scaled_ones_are_numbers() -> None:
    rule = Rule("attribute", ("x",))

    assert [declared_type(rule, [kind]) for kind in (pa.decimal128(30, 2), pa.uint64())] == [INFERRED, INFERRED]
    assert declared_type(rule, [pa.int64(), pa.float64()]) == INFERRED
    assert inferred_type(declared_type(replace(rule, scale=Decimal(1)), []), True, False, False) == "double"
