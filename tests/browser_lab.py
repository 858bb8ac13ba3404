"""A real Chromium without a window, and a page that remembers what it asked for and complained of."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, expect, sync_playwright

from feature_repo.settings import PROJECT_ROOT
from stack import chromium

AXE = PROJECT_ROOT / ".parts" / "node_modules" / "axe-core" / "axe.min.js"
WITHIN_MS = 30_000
"""How long a busy machine may take to show what a test waits for."""

MOST_PRESSES = 20
QUIET = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic")
UNSANDBOXED = ("--no-sandbox", "--disable-gpu")
"""Root and containers have no sandbox of Chromium's; every page here is our own."""


@contextmanager
def open_browser() -> Iterator[Browser]:
    """The Chromium of PATH, else the one that set-up brought; what asks for it is skipped where there is neither."""
    chosen = chromium.found()
    if chosen is None:
        pytest.skip(f"no Chromium: {', '.join(chromium.NAMES)} are not on PATH, and set-up brings none to this platform")
    expect.set_options(timeout=WITHIN_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chosen.path, args=[*QUIET, *UNSANDBOXED], env={**os.environ, **chosen.environment}
        )
        yield browser
        browser.close()


@dataclass
class Seen:
    """A page of the console at `base_url`, every address it asked for, and what it complained of."""

    page: Page
    base_url: str
    addresses: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def open(self, path: str = "/") -> None:
        self.page.goto(self.base_url + path)

    def one(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def view(self, name: str) -> None:
        """Click on the tab of a view."""
        self.page.get_by_role("tab", name=name).click()

    def score(self, user_id: str, amount: str | None = None) -> None:
        """Fill the form, with a transaction where there is an amount, and press until there is a decision: a service that
        is too busy says so, and a person presses again.
        """
        self.page.get_by_label("User id").fill(user_id)
        self.page.get_by_label("Score a transaction").set_checked(amount is not None)
        if amount is not None:
            self.page.get_by_label("Amount").fill(amount)
        for _ in range(MOST_PRESSES):
            self.page.get_by_role("button", name="Score", exact=True).click()
            self.one("#score-value, #refused:not([hidden])").wait_for()
            if self.one("#score-value").is_visible():
                return
        raise AssertionError(self.text("#refused"))

    def errors(self, *, but_refusals: bool = False) -> list[str]:
        """What the page complained of. Chromium also names each answer above 399: a 503 is what a busy machine may say,
        and a test may expect others.
        """
        told = (
            "Failed to load resource" if but_refusals else "Failed to load resource: the server responded with a status of 503"
        )
        return [text for text in self.complaints if not text.startswith(told)]

    def text(self, selector: str) -> str:
        return self.one(selector).inner_text()

    def foreign(self) -> list[str]:
        """Addresses asked for that are not the service's own; what is in the page itself (data:, blob:) goes nowhere."""
        return [address for address in self.addresses if not address.startswith((self.base_url, "data:", "blob:"))]

    def violations(self) -> list[str]:
        """What axe-core finds serious or critical on the page as it is now."""
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = self.page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        return [
            f"{violation['id']}: {[node['html'][:160] for node in violation['nodes'][:3]]}"
            for violation in found
            if violation["impact"] in ("serious", "critical")
        ]


@contextmanager
def seen(browser: Browser, base_url: str, **context: Any) -> Iterator[Seen]:
    """A new page in a context of its own (nothing stored); closed at the end."""
    opened = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **context})
    opened.set_default_timeout(WITHIN_MS)
    this = Seen(opened.new_page(), base_url)

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            this.complaints.append(message.text)

    def asked(request: Request) -> None:
        this.addresses.append(request.url)

    this.page.on("console", heard)
    this.page.on("pageerror", lambda error: this.complaints.append(str(error)))
    this.page.on("request", asked)
    this.page.on("dialog", lambda dialog: (this.dialogs.append(dialog.message), dialog.dismiss()))
    yield this
    opened.close()


@contextmanager
def at_home(browser: Browser, base_url: str) -> Iterator[Seen]:
    """The same; whatever a test does, nothing is asked of another host and no dialog of the browser's opens."""
    with seen(browser, base_url) as console:
        yield console
        assert console.foreign() == []
        assert console.dialogs == []


def as_csv(path: Path) -> list[list[str]]:
    """Rows of a downloaded file."""
    import csv

    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))
