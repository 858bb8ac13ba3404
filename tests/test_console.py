"""The console in a real browser, on a real broker, fold, store and service: what a person does by clicking, and sees."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from browser_lab import Seen, as_csv, at_home, open_browser, seen
from free_ports import free_port
from playwright.sync_api import Browser, expect
from serving_lab import Service, applied_store, await_ready, both_models, lab_settings, wait_until
from serving_lab import running as serving
from stream_lab import running, send, transaction, value_of

from feature_repo.settings import Settings
from stack import processes, services, topics

AGES = [timedelta(minutes=m) for m in (1, 4, 30, 55, 200, 300, 900)]
WINDOWS_OF_VERA = {"10m": "2", "1h": "4", "6h": "6", "1d": "7", "7d": "7", "30d": "7"}
"""How many of vera's payments, of the ages above, are younger than each window."""

DECAY_S = 15


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, browser: Browser, broker: str, own_store: str) -> Settings:
    topics.recreate(broker)
    ports = {"FOLD_METRICS_PORT": str(free_port())}
    return lab_settings(tmp_path_factory.mktemp("console"), own_store, KAFKA_BOOTSTRAP_SERVERS=broker, **ports)


@pytest.fixture(scope="module")
def service(settings: Settings) -> Iterator[Service]:
    """The service with a fold that has folded vera's payments."""
    store = applied_store(settings)
    pay("vera", settings, AGES)
    with (
        running(services.fold(settings), settings),
        serving(settings, store, both_models(settings.data_dir, store)) as service,
    ):
        await_ready(service.client)
        wait_until(lambda: service.features("vera").json()["known"])
        wait_until(lambda: all(service.client.get(path).is_success for path in ("/v1/status", "/v1/users/vera/events")))
        yield service


@pytest.fixture
def console(browser: Browser, service: Service) -> Iterator[Seen]:
    with at_home(browser, str(service.client.base_url)) as console:
        yield console


def pay(user_id: str, settings: Settings, ages: list[timedelta]) -> None:
    """Send payments of 12.00 of a user, so long ago."""
    now = datetime.now(UTC)
    events = [
        transaction(user_id, event_type="payment", amount_cents=1_200, event_timestamp=(now - age).isoformat()) for age in ages
    ]
    send(settings.kafka_bootstrap_servers, "transactions", [(user_id, value_of(event)) for event in events])


def window_values(console: Seen) -> dict[str, str]:
    """Window -> the value written beside its bar."""
    groups = console.one("svg.windows g[data-window]").all()
    return {str(group.get_attribute("data-window")): group.locator("text.amount").text_content() or "" for group in groups}


def test_a_scored_transaction_shows_its_decision_and_the_reasons_that_the_service_gives(console: Seen, service: Service):
    console.open()

    console.score("vera", "950.00")

    answer = service.score({"user_id": "vera", "transaction": {"amount_cents": 95_000, "event_type": "payment"}}).json()
    assert console.text("#verdict .badge") == answer["decision"] == "decline"
    assert float(console.text("#score-value")) == pytest.approx(answer["score"], abs=1e-4)
    lines = console.one("#reasons .reasons li").all()
    assert [line.get_attribute("title") for line in lines] == [reason["feature"] for reason in answer["reasons"]]
    assert lines[0].locator(".value").inner_text() == "950.00"
    assert lines[0].locator("rect.raises").count() == 1
    assert console.errors() == []


def test_the_windows_stand_over_the_users_own_events_with_their_values(console: Seen):
    console.open("/?user_id=vera")

    expect(console.one("svg.windows .event.in")).to_have_count(4)  # older ones than an hour and some minutes live in tiles

    assert window_values(console) == WINDOWS_OF_VERA
    assert console.text("[data-feature=user_payments__payment_cents_sum_1d]") == "84.00"
    assert console.errors() == []


def test_a_value_decays_before_ones_eyes_when_an_event_leaves_its_window(console: Seen, settings: Settings, service: Service):
    pay("olga", settings, [timedelta(minutes=10) - timedelta(seconds=DECAY_S)])
    wait_until(lambda: service.features("olga").json()["known"])
    console.open("/?user_id=olga")
    shortest = console.one("svg.windows g[data-window='10m'] text.amount")

    expect(shortest).to_have_text("1")

    expect(shortest).to_have_text("0", timeout=2_000 * DECAY_S)
    assert window_values(console)["1h"] == "1"


def test_an_event_that_arrives_is_seen_at_once(console: Seen, settings: Settings):
    console.open("/?user_id=nora")
    expect(console.one("#features-at")).to_contain_text("not a known user")

    pay("nora", settings, [timedelta(0)])

    expect(console.one("svg.windows g[data-window='10m'] text.amount")).to_have_text("1")
    expect(console.one("svg.windows .event.in")).to_have_count(1)


def test_a_decision_made_elsewhere_appears_in_the_stream(console: Seen, service: Service):
    console.open("/#live")
    expect(console.one("#stream-state")).to_have_text("live")

    service.score({"user_id": "streamed", "transaction": {"amount_cents": 90_000}})

    row = console.one("#stream tbody tr").filter(has_text="streamed")
    expect(row).to_have_count(1)
    assert row.locator(".badge").inner_text() == "decline"
    row.get_by_role("button", name="streamed").click()
    expect(console.page.get_by_label("User id")).to_have_value("streamed")
    assert console.errors() == []


def test_an_uploaded_file_comes_back_scored_as_one_request_each_would_be(console: Seen, service: Service, tmp_path: Path):
    rows = [f'u{number},{number * 1_000},"note, {number}"' for number in range(150)]
    file = "\r\n".join(["user_id,amount_cents,note", *rows, "u-bad,12.50,not cents", ",5,nobody", 'vera,,"as ""is"""'])
    console.open("/#batch")
    console.page.set_input_files("#file", {"name": "cards.csv", "mimeType": "text/csv", "buffer": file.encode()})

    console.page.get_by_role("button", name="Score the rows").click()
    with console.page.expect_download() as download:
        console.page.get_by_role("link", name="Download CSV").click()
    download.value.save_as(tmp_path / download.value.suggested_filename)

    header, *scored = as_csv(tmp_path / "cards-scored.csv")
    assert header == ["user_id", "amount_cents", "note", "score", "decision", "model", "model_version", "as_of", "error"]
    assert [row[2] for row in scored] == [*(f"note, {number}" for number in range(150)), "not cents", "nobody", 'as "is"']
    alone = service.score({"user_id": "u60", "transaction": {"amount_cents": 60_000}}).json()
    assert (float(scored[60][3]), scored[60][4], scored[60][5]) == (alone["score"], alone["decision"], "transaction_fraud")
    assert scored[152][5] == "account_risk"
    assert [row[8] for row in scored if row[8]] == ["amount_cents 12.50 is not a whole number of cents", "has no user_id"]
    assert console.errors() == []


def test_a_file_that_is_none_is_refused_in_a_sentence(console: Seen):
    console.open("/#batch")

    console.page.set_input_files("#file", {"name": "x.csv", "mimeType": "text/csv", "buffer": b"user_id\n\xff\xfe\n"})

    expect(console.one("#chosen .bad")).to_have_text("x.csv cannot be used. It is not UTF-8.")
    expect(console.page.get_by_role("button", name="Score the rows")).to_be_disabled()


def test_the_switch_turns_the_page_dark_and_the_choice_outlives_the_page(console: Seen):
    ground = "getComputedStyle(document.body).backgroundColor"
    console.open()
    light = console.page.evaluate(ground)

    console.page.get_by_role("button", name="Dark").click()

    dark = console.page.evaluate(ground)
    assert sum(map(int, re.findall(r"\d+", light))) > 600 > 100 > sum(map(int, re.findall(r"\d+", dark)))
    console.open()
    assert console.page.evaluate(ground) == dark
    expect(console.page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_view_has_its_picture(browser: Browser, service: Service, theme: str):
    folder = Settings.from_env().reports_path
    folder.mkdir(parents=True, exist_ok=True)
    with seen(browser, str(service.client.base_url), color_scheme=theme) as console:
        console.open()
        console.score("vera", "950.00")
        for view in ("User", "Live", "Models", "Batch"):
            console.view(view)
            expect(console.one("[role=tabpanel]:not([hidden]) .loading")).to_have_count(0)
            picture = console.page.screenshot(path=folder / f"console-{view.lower()}-{theme}.png", full_page=True)

            assert picture.startswith(b"\x89PNG")


def test_who_stops_the_fold_sees_it_at_once_and_sees_it_recover(console: Seen, settings: Settings):
    fold = console.one("[data-part=fold]")
    console.open("/#live")
    expect(fold).to_contain_text("runs, 0 behind")

    processes.stop(["fold"], settings.data_dir)

    expect(fold).to_contain_text("stopped")
    expect(console.page.get_by_role("alert").first).to_contain_text("The fold is stopped.")
    expect(console.one("#freshness")).to_contain_text("No fold runs")
    with running(services.fold(settings), settings):
        expect(fold).to_contain_text("runs, 0 behind")
        expect(console.one("#alarm")).to_be_empty()
