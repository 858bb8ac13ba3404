"""The first page and the documentation: everything from this machine, ids shown as text."""

import re
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from serving_lab import NOBODY_LISTENS, applied_store, both_models, lab_settings, running

from serving.links import links
from serving.pages import CONSOLE, SWAGGER_UI, add_pages

LINK = re.compile(r"""(?:src|href)=["']([^"']+)["']""")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def client(data_dir: Path, own_store: str):
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


@pytest.mark.parametrize("asked", ["bytes=0-3", "bytes=5-2", "bytes=99999999-", "lines=1"])
def test_a_file_is_sent_whole_whatever_range_is_asked_for(client: httpx.Client, asked: str):
    for path in ("/", "/assets/console/index.html"):
        answer = client.get(path, headers={"Range": asked})

        assert (answer.status_code, answer.text) == (200, (CONSOLE / "index.html").read_text())


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


def test_the_data_docs_run_in_an_origin_of_their_own(client: httpx.Client, data_dir: Path):
    page = data_dir / "data_docs" / "index.html"
    page.parent.mkdir()
    page.write_text("<h1>Data docs</h1>")

    told = client.get("/v1/status").json()["links"]["Data docs"]
    answer = client.get(told)

    assert answer.text == client.get("/data-docs/").text == "<h1>Data docs</h1>"
    assert answer.headers["content-security-policy"].startswith("sandbox allow-scripts;")


def test_data_docs_that_were_not_written_are_not_found(client: httpx.Client):
    assert client.get("/data-docs/absent.html").status_code == 404


def test_where_keys_are_needed_nobody_sees_the_data_docs_which_show_values_of_the_log(tmp_path: Path):
    settings = lab_settings(tmp_path, NOBODY_LISTENS, API_KEYS="one-key")
    (tmp_path / "data_docs").mkdir()
    (tmp_path / "data_docs" / "index.html").write_text("<h1>Data docs</h1>")

    app = FastAPI()
    add_pages(app, settings)

    assert "Data docs" not in links(settings)
    assert "/data-docs" not in {getattr(route, "path", "") for route in app.routes}


@pytest.mark.parametrize("script", sorted(CONSOLE.glob("*.js")), ids=lambda path: path.name)
def test_scripts_show_what_came_from_outside_as_text(script: Path):
    text = script.read_text(encoding="utf-8")

    for dangerous in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "http://", "https://"):
        assert dangerous not in text
