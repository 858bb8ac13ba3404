"""A mapping is read strictly: whatever is not exactly as documented is refused by name."""

import textwrap
from pathlib import Path

import pytest
from ingest_lab import PLAIN, parsed, written

from feature_repo.settings import PROJECT_ROOT
from pipelines.ingest.choice import REES46, SIMULATOR, choose_mapping
from pipelines.ingest.mapping import Mapping, read_mapping
from pipelines.ingest.refusals import LoadRefused
from pipelines.ingest.source_files import source_files

HOUR_US = 3_600_000_000


def mapping_of(folder: Path, text: str) -> Mapping:
    return read_mapping(written(folder / "mapping.yaml", text))


def test_every_scalar_is_text_so_norway_stays_no(tmp_path: Path) -> None:
    mapping = mapping_of(tmp_path, PLAIN + "country: {constant: NO}\nchannel: {column: way, values: {1: on, 010: off}}\n")

    assert mapping.columns["country"].constant == "NO"
    assert mapping.columns["channel"].values == {"1": "on", "010": "off"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (PLAIN + "user_id: other\n", "'user_id' stands twice"),
        (PLAIN + "channel: {column: a, column: b}\n", "'column' stands twice"),
        (PLAIN + "amonut_cents: paid\n", "unknown key 'amonut_cents'"),
        (PLAIN + "source_partition: p\n", "unknown key 'source_partition'"),
        (PLAIN + "channel: {column: a, colour: red}\n", "unknown key 'colour'"),
        (PLAIN + "channel: {column: a, constant: b}\n", "'column' with 'constant'"),
        (PLAIN + "channel: {column: a, scale: 100}\n", "'scale' has no meaning"),
        (PLAIN + "created_timestamp: {column: a, unit: minutes}\n", "unit 'minutes'"),
        (PLAIN + "created_timestamp: {column: a, timezone: Mars/Olympus}\n", "timezone 'Mars/Olympus'"),
        (PLAIN + "created_timestamp: {column: a, timezone: ../../etc/passwd}\n", "timezone '../../etc/passwd'"),
        (PLAIN + "event_type: {column: a, values: {buy: purchase}}\n", "event_type 'purchase'"),
        (PLAIN + "event_type: {constant: refund}\n", "event_type 'refund'"),
        (PLAIN + "event_id: {constant: x}\n", "event_id cannot be constant"),
        (PLAIN + "channel:\n", "channel needs `column:`"),
        (PLAIN + "label: {delay: 7d}\n", "label needs `column:`"),
        (PLAIN + "label: {column: f, delay: soon}\n", "delay 'soon'"),
        (PLAIN + "label: {column: f, delay: -7d}\n", "delay '-7d'"),
        (PLAIN + "label: {column: f, later: 7d}\n", "unknown key 'later'"),
        (PLAIN + "attributes: {user_id: x}\n", "every row has its own 'user_id'"),
        (PLAIN + "attributes: [income]\n", "attributes must be an object"),
        (PLAIN + "shift_to_now: maybe\n", "shift_to_now is 'maybe'"),
        (PLAIN + "channel: !!python/name:os.system x\n", "a tag"),
        ("user_id: who\n", "event_timestamp needs a column"),
        ("event_timestamp: when\nuser_id: {constant: me}\n", "user_id needs a column"),
        ("event_timestamp: when\nuser_id: who\namount_cents: {column: a, scale: '1,5'}\n", "scale '1,5'"),
        ("event_timestamp: when\nuser_id: who\namount_cents: {column: a, scale: -100}\n", "scale '-100'"),
        ("- a\n- b\n", "not a YAML object"),
        ("", "not a YAML object"),
        ("a: [1\n", "cannot be read as YAML"),
        ("a: 1\n---\nb: 2\n", "cannot be read as YAML"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(LoadRefused) as refused:
        mapping_of(tmp_path, text)

    assert named in str(refused.value)


def test_a_missing_mapping_and_one_that_is_not_utf8_are_refused(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("user_id: größe".encode("latin-1"))

    with pytest.raises(LoadRefused, match=r"nowhere\.yaml cannot be read"):
        read_mapping(tmp_path / "nowhere.yaml")
    with pytest.raises(LoadRefused, match="not UTF-8"):
        read_mapping(latin)


def test_a_label_is_known_after_its_delay_which_is_none_by_default(tmp_path: Path) -> None:
    late = mapping_of(tmp_path, PLAIN + "label: {column: fraud, delay: 36h, positive: 0}\n").label
    at_once = mapping_of(tmp_path, PLAIN + "label: {column: fraud}\n").label

    assert late is not None
    assert at_once is not None
    assert (late.delay_us, late.positive) == (36 * HOUR_US, "0")
    assert (at_once.delay_us, at_once.positive) == (0, None)


def test_the_shipped_mappings_are_ordinary_mappings() -> None:
    shop, simulator = read_mapping(REES46), read_mapping(SIMULATOR)

    assert shop.columns["merchant_id"].columns == ("brand", "category_code")
    assert shop.columns["event_type"].values == {"purchase": "payment", "cart": "hold", "view": "view"}
    assert shop.shift_to_now
    assert simulator.shift_to_now
    assert simulator.columns["event_id"].columns == ("id",)


def test_rees46_is_known_by_its_header_in_any_order(tmp_path: Path) -> None:
    header = "user_id,user_session,event_time,event_type,product_id,category_id,category_code,brand,price"
    files = source_files(str(written(tmp_path / "shop.csv", header + "\n")))

    assert choose_mapping(files, None).name == str(REES46)


def test_any_other_file_without_a_mapping_is_refused_with_an_example(tmp_path: Path) -> None:
    files = source_files(str(written(tmp_path / "cards.csv", "tx_time,customer,price\n")))

    with pytest.raises(LoadRefused) as refused:
        choose_mapping(files, None)

    assert "event_timestamp: {column: tx_time" in str(refused.value)
    assert "user_id: customer" in str(refused.value)


def test_the_readme_s_example_reads_its_own_file(tmp_path: Path) -> None:
    page = (PROJECT_ROOT / "data" / "README.md").read_text().split("Say a bank's file looks like this:")[1]
    source, _, mapping = (block.strip() for block in page.split("### The mapping")[0].partition("Then this mapping reads it:"))

    found = parsed(tmp_path, textwrap.dedent("    " + source) + "\n", textwrap.dedent("    " + mapping))

    assert [(row["user_id"], row["amount_cents"], row["is_fraud"]) for row in found.kept] == [
        ("0007", 16495, 0),
        ("0007", 310, 1),
    ]
    assert [row["extra_income"] for row in found.kept] == ["1200", None]
