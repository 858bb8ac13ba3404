"""The console for everybody: by keyboard, by screen reader, on a phone, with a key, with hostile ids, with nothing to show."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from browser_lab import AXE, Seen, at_home, open_browser, seen
from free_ports import free_port
from playwright.sync_api import Browser, expect
from serving_lab import Service, applied_store, await_ready, both_models, lab_settings, payment, push, running

VIEWS = ("User", "Live", "Models", "Batch")
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "'; DROP TABLE users; --",
    "\u202e\u05e2\u05d1 \U0001f469\u200d\U0001f467 \ufdfd",
    "../../etc?a=b#c&d=%00",
]
KEY = "correct-horse"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, browser: Browser, own_store: str) -> Iterator[Service]:
    """A service without a broker and without a fold."""
    data_dir = tmp_path_factory.mktemp("console")
    settings = lab_settings(data_dir, own_store, FOLD_METRICS_PORT=str(free_port()))
    store = applied_store(settings)
    now = datetime.now(UTC)
    push(
        store,
        [payment("iris", f"i{age}", now - timedelta(minutes=age), 500 * age, offset) for offset, age in enumerate((90, 8, 2))],
    )
    with running(settings, store, both_models(data_dir, store)) as service:
        await_ready(service.client)
        yield service


@pytest.fixture
def console(browser: Browser, service: Service) -> Iterator[Seen]:
    with at_home(browser, str(service.client.base_url)) as console:
        yield console


@pytest.mark.parametrize("user", [*HOSTILE, "x" * 10_000], ids=["html", "sql", "unicode", "path", "10 kB"])
def test_an_id_is_text_and_nothing_else_wherever_it_is_shown(console: Seen, service: Service, user: str):
    console.open()
    console.page.get_by_label("User id").fill(user)

    console.page.get_by_role("button", name="Score", exact=True).click()

    verdict = console.one("#verdict, #refused")
    expect(verdict.filter(has_text=re.compile("account_risk|256 characters")).first).to_be_visible()
    console.view("Live")
    expect(console.one("#stream-state")).to_have_text("live")
    console.page.reload()
    expect(console.page.get_by_label("User id")).to_have_value(user)
    assert console.page.evaluate("document.querySelectorAll('main img, main script, main iframe').length") == 0
    assert console.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert console.errors(but_refusals=len(user) > 256) == []


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: run `make setup`")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_view_has_a_serious_fault_in_either_theme(browser: Browser, service: Service, theme: str):
    with seen(browser, str(service.client.base_url), color_scheme=theme) as console:
        console.open()
        console.score("iris", "950.00")
        expect(console.one("svg.windows")).to_be_visible()

        faults = {}
        for view in VIEWS:
            console.view(view)
            faults[view] = console.violations()

        assert faults == {view: [] for view in VIEWS}


def test_everything_is_reached_by_keyboard(console: Seen):
    console.open()
    press = console.page.keyboard.press
    console.page.get_by_label("User id").press_sequentially("iris")

    press("Enter")

    console.one("#score-value").wait_for()
    console.page.get_by_role("tab", name="User").focus()
    for name in ("Live", "Models", "Batch"):
        press("ArrowRight")
        expect(console.page.get_by_role("tab", name=name)).to_be_focused()
        expect(console.one(f"#view-{name.lower()}")).to_be_visible()
    press("Home")
    expect(console.one("#view-user")).to_be_visible()


@pytest.mark.parametrize("width", [360, 768, 1920])
def test_no_view_is_wider_than_its_screen(browser: Browser, service: Service, width: int):
    with seen(browser, str(service.client.base_url), viewport={"width": width, "height": 800}) as console:
        console.open()
        console.score("iris", "950.00")
        expect(console.one("svg.windows")).to_be_visible()

        for view in VIEWS:
            console.view(view)
            assert console.page.evaluate("document.documentElement.scrollWidth") <= width, view


def test_what_is_not_there_is_said_to_be_missing(console: Seen):
    console.open("/#live")

    expect(console.one("[data-part=fold]")).to_contain_text("stopped")
    expect(console.one("#parity")).to_contain_text("Not measured yet")
    console.page.get_by_label("Show").select_option("alerts")
    expect(console.one("#stream")).to_contain_text("Nothing of this kind yet.")
    assert console.errors() == []


def test_a_model_has_a_card_with_its_thresholds_and_what_the_gate_said(console: Seen, service: Service):
    check = {"name": "beats the base rate", "passed": False, "detail": "0.03 is not above 0.05"}
    gate = {"promoted": False, "reason": "no better than guessing", "checks": [check]}
    reports = service.settings.reports_path
    reports.mkdir(exist_ok=True)
    (reports / "train.json").write_text(json.dumps({"models": {"transaction_fraud": {"trained": True, "gate": gate}}}))

    console.open("/#models")

    card = console.one("article").filter(has_text="transaction fraud")
    expect(card.locator(".badge").first).to_have_text("champion, version 1")
    expect(card.locator(".gate")).to_have_text(
        "Not promoted. no better than guessingfailedbeats the base rate: 0.03 is not above 0.05"
    )
    expect(card.locator("dd").nth(3)).to_have_text("0.7")
    assert console.errors() == []


def test_a_difference_between_online_and_offline_is_an_alarm(console: Seen, service: Service):
    report = service.settings.reports_path / "parity.json"
    report.parent.mkdir(exist_ok=True)
    console.open("/#live")
    expect(console.one("[data-part=parity]")).to_contain_text("not measured")

    report.write_text(json.dumps({"answers": 40, "mismatches": 2}))

    expect(console.one("[data-part=parity]")).to_contain_text("2 mismatches")
    expect(console.one("#alarm")).to_contain_text("Online and offline disagree.")
    report.unlink()
    expect(console.one("#alarm")).not_to_contain_text("disagree")


def test_a_written_file_reads_back_as_it_was_whatever_its_fields_hold(console: Seen):
    rows = [["a", "b"], ['say "no"', "1,5"], ["two\r\nlines", ""], ["", "ü 👍"], ["=1+1", " spaced "]]
    console.open()

    read = "async (rows) => { const { parse, write } = await import('/assets/console/csv.js'); return parse(write(rows)); }"

    assert console.page.evaluate(read, rows) == rows


def test_an_amount_is_read_to_the_cent_or_refused(console: Seen):
    texts = ["12.5", "0.07", "1234567890123.99", "1e5", "-1", "1.234", "1,000"]
    console.open()

    cents = """async (texts) => {
        const { centsOf } = await import('/assets/console/transaction.js');
        return texts.map((text) => { try { return centsOf(text); } catch { return null; } });
    }"""

    assert console.page.evaluate(cents, texts) == [1_250, 7, 123_456_789_012_399, None, None, None, None]


def test_a_console_whose_service_needs_a_key_asks_for_it_once_and_keeps_it_for_the_tab(browser: Browser, service: Service):
    keyed = lab_settings(service.settings.data_dir, service.settings.redis_connection_string, API_KEYS=KEY)
    models = both_models(service.settings.data_dir / "keyed", service.store)
    with running(keyed, service.store, models) as locked, seen(browser, str(locked.client.base_url)) as console:
        await_ready(locked.client)
        console.open("/?user_id=iris")
        for given in ("wrong", KEY):
            expect(console.page.get_by_role("dialog")).to_be_visible()
            console.page.get_by_label("Key", exact=True).fill(given)
            console.page.get_by_role("button", name="Use it").click()

        expect(console.one("svg.windows")).to_be_visible()
        expect(console.page.get_by_role("dialog")).to_be_hidden()
        asked = len(console.addresses)
        console.page.reload()
        expect(console.one("svg.windows")).to_be_visible()
        assert console.page.evaluate("[sessionStorage.length, localStorage.length, document.cookie]") == [1, 0, ""]
        assert not [address for address in console.addresses if KEY in address]
        assert asked < 60


def test_a_service_that_goes_away_is_said_to_be_away(browser: Browser, service: Service):
    models = both_models(service.settings.data_dir / "leaving", service.store)
    with running(service.settings, service.store, models) as leaving:
        await_ready(leaving.client)
        opened = seen(browser, str(leaving.client.base_url))
        console = opened.__enter__()
        console.open("/?user_id=iris")
        expect(console.one("svg.windows")).to_be_visible()

    expect(console.page.get_by_role("alert").first).to_contain_text("The service is away.")
    expect(console.one("#features-at")).to_contain_text("stopped at")
    opened.__exit__(None, None, None)
