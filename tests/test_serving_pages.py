"""The first page and the documentation: everything from this machine, ids shown as text."""

import re
from pathlib import Path

import httpx
import pytest
from serving_lab import applied_store, both_models, lab_settings, running

from serving.pages import CONSOLE, SWAGGER_UI

LINK = re.compile(r"""(?:src|href)=["']([^"']+)["']""")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, own_store: str):
    data_dir = tmp_path_factory.mktemp("pages")
    settings = lab_settings(data_dir, own_store)
    store = applied_store(settings)
    with running(settings, store, both_models(data_dir, store)) as service:
        yield service.client


@pytest.mark.parametrize("path", ["/", "/docs", "/?user_id=%3Cscript%3Ealert(1)%3C/script%3E"])
def test_a_page_names_only_addresses_of_this_machine_and_repeats_no_id(client: httpx.Client, path: str):
    page = client.get(path)

    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "alert(1)" not in page.text
    links = LINK.findall(page.text)
    assert links
    assert all((link.startswith("/") and not link.startswith("//")) or link == "data:," for link in links)


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_everything_a_page_loads_is_there(client: httpx.Client, path: str):
    needed = [link for link in LINK.findall(client.get(path).text) if link.startswith("/assets/")]
    if not SWAGGER_UI.is_dir():
        needed = [link for link in needed if "swagger-ui" not in link]

    assert needed
    assert {link: client.get(link).status_code for link in needed} == dict.fromkeys(needed, 200)


def test_the_documentation_is_readable_offline_once_set_up(client: httpx.Client):
    if not SWAGGER_UI.is_dir():
        pytest.skip("swagger-ui-dist is not installed: run `make setup`")

    bundle = client.get("/assets/swagger-ui/swagger-ui-bundle.js")

    assert bundle.status_code == 200
    assert "SwaggerUIBundle" in bundle.text


def test_the_browser_is_told_to_load_from_here_only(client: httpx.Client):
    policy = client.get("/").headers["content-security-policy"]

    assert "default-src 'self'" in policy
    assert "script-src" not in policy  # so scripts fall under default-src: no inline ones, none from elsewhere
    assert "<script>" not in client.get("/").text


@pytest.mark.parametrize("script", sorted(CONSOLE.glob("*.js")), ids=lambda path: path.name)
def test_scripts_show_what_came_from_outside_as_text(script: Path):
    text = script.read_text(encoding="utf-8")

    for dangerous in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "http://", "https://"):
        assert dangerous not in text
