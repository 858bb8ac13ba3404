"""The kept log is checked before it becomes the log, and the pages about it open without a network."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.event_schema import LABELS, TRANSACTIONS
from feature_repo.row_level import add_columns
from pipelines.checks.expectations import Previous
from pipelines.checks.offline_docs import PACKAGES, offline_page
from pipelines.checks.validate import Findings, validate

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LOADED_FROM_ELSEWHERE = re.compile(
    r"""(?:\bsrc|\bhref|\baction|\bsrcset|data-src)\s*=\s*["']?\s*(?:https?:)?//|url\(\s*["']?(?:https?:)?//|@import\s+["']"""
)


COUNT = 20


def events(**columns: list[Any]) -> pa.Table:
    """Twenty payments of the last hours, with the given columns instead."""
    rows = {
        "event_id": [f"e-{n}" for n in range(COUNT)],
        "event_timestamp": [NOW - timedelta(minutes=n) for n in range(COUNT)],
        "created_timestamp": [NOW - timedelta(minutes=n) for n in range(COUNT)],
        "user_id": ["anna"] * COUNT,
        "event_type": ["payment", "view"] * (COUNT // 2),
        "amount_cents": [1000 + n for n in range(COUNT)],
        "too_late": [False] * COUNT,
    } | columns
    arrays = [
        pa.array(rows[field.name], field.type) if field.name in rows else pa.nulls(COUNT, field.type) for field in TRANSACTIONS
    ]
    return add_columns(pa.table(arrays, schema=TRANSACTIONS))


def checked(folder: Path, transactions: pa.Table, previous: Previous | None = None) -> Findings:
    for name, table in (("transactions", transactions), ("labels", LABELS.empty_table())):
        day = folder / "events" / name / "event_date=2026-11-20"
        day.mkdir(parents=True)
        pq.write_table(table, day / "history-00000.parquet")
    (folder / "scratch").mkdir()
    return validate(folder / "events", folder / "scratch", NOW, previous)


def test_a_good_log_has_no_findings(tmp_path: Path) -> None:
    found = checked(tmp_path, events())

    assert (found.refusals, found.warnings) == ([], [])


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"event_id": ["same"] * 20}, "expect column values to be unique (column=event_id): 20 rows are not"),
        ({"user_id": [None] + ["anna"] * 19}, "expect column values to not be null (column=user_id): 1 rows are not"),
        ({"amount_cents": [-1] + [1] * 19}, "expect column values to be between (column=amount_cents"),
        ({"event_type": ["refund"] * 20}, "expect column values to be in set (column=event_type"),
        ({"created_timestamp": [NOW - timedelta(days=9)] * 20}, "expect column pair values a to be greater than b"),
    ],
)
def test_nulls_duplicates_and_values_out_of_range_refuse_the_load(
    tmp_path: Path, broken: dict[str, list[Any]], said: str
) -> None:
    found = checked(tmp_path, events(**broken))

    assert any(said in refusal for refusal in found.refusals), found.refusals


def test_another_schema_refuses_the_load(tmp_path: Path) -> None:
    found = checked(tmp_path, events().drop_columns(["session_id"]))

    assert ["does not have the log's columns and types" in refusal for refusal in found.refusals] == [True]


def test_old_events_and_another_mix_or_size_than_before_only_warn(tmp_path: Path) -> None:
    old = [NOW - timedelta(days=30, minutes=n) for n in range(20)]
    before = Previous({"payment": 0.05, "view": 0.95}, median_amount_cents=50_000.0)

    found = checked(tmp_path, events(event_timestamp=old, created_timestamp=old), before)

    assert found.refusals == []
    assert [warning.split(":")[1].strip() for warning in sorted(found.warnings)] == [
        "the median amount is within a factor of 3 of the load before",
        "the mix of event types is that of the load before (divergence below 0.1)",
        "the newest event is at most 7 days old",
    ]


def test_the_pages_load_nothing_from_elsewhere(tmp_path: Path) -> None:
    before = Previous({"payment": 0.5, "view": 0.5}, 1000.0)

    site = checked(tmp_path, events(), before).docs

    pages = sorted(site.rglob("*.html"))
    assert (site / "index.html") in pages
    assert len(pages) >= 3
    for file in [*pages, *(site / "static" / "styles").glob("*.css")]:
        text = file.read_text()
        assert not LOADED_FROM_ELSEWHERE.search(text), (file, LOADED_FROM_ELSEWHERE.search(text))
        assert "great-expectations-web-assets" not in text
        assert "dataContextId" not in text


@pytest.mark.skipif(not PACKAGES.exists(), reason=f"the browser packages are not at {PACKAGES}: run `make setup`")
def test_every_asset_a_page_names_is_there(tmp_path: Path) -> None:
    site = checked(tmp_path, events()).docs

    for page in site.rglob("*.html"):
        named = re.findall(r"""<(?:link|script|img)\b[^>]*?(?:src|href)=["']([^"'#]+)["']""", page.read_text())
        assert any(name.endswith("bootstrap-table.min.js") for name in named)
        for name in named:
            assert name.startswith("data:") or (page.parent / name.split("?")[0]).resolve().exists(), (page, name)


def test_without_the_packages_a_page_keeps_its_text_and_loses_its_remote_assets(tmp_path: Path) -> None:
    page = """<link rel="stylesheet" href="https://cdn.example/bootstrap/4.3.1/css/bootstrap.min.css"/>
    <script src="https://code.jquery.com/jquery-3.7.1.min.js" integrity="sha384-x" crossorigin="anonymous"></script>
    <a class="b" href="https://example.com/newsletter?utm_source=x">Newsletter</a>
    <img src="https://example.com/logo.png?dataContextId=1"/><p style="background: url('https://e.com/a.png')">Text</p>"""

    offline = offline_page(page, "../", packages=tmp_path / "nowhere")

    assert "//" not in offline
    assert '<a class="b">Newsletter</a>' in offline
    assert "Text" in offline
