"""Who may ask: keys, their scopes, and what is open to everybody."""

import hashlib

import httpx
import pytest
from serving_lab import applied_store, both_models, lab_settings, running

from serving.keys import Keyring, parse_keys
from serving.problems import Problem

PLAIN = "plain-key-4711"
READER = "reader-key-0815"
DIGEST = hashlib.sha256(READER.encode()).hexdigest()
SCORE = {"user_id": "anna", "transaction": {}}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, own_store: str):
    data_dir = tmp_path_factory.mktemp("keys")
    settings = lab_settings(data_dir, own_store, API_KEYS=f"{PLAIN},dashboard:read:sha256={DIGEST}")
    store = applied_store(settings)
    with running(settings, store, both_models(data_dir, store)) as service:
        yield service.client


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": "wrong"},
        {"X-API-Key": DIGEST},
        {"Authorization": f"Basic {PLAIN}"},
        {"Authorization": "Bearer"},
        {"X-API-Key": PLAIN + " x"},
        {"X-API-Key": "k\u00e9".encode("latin-1")},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/score"), ("POST", "/v1/score/batch"), ("GET", "/v1/users/anna/features"), ("GET", "/v1/nothing")],
)
def test_everything_below_v1_needs_a_key(client: httpx.Client, method: str, path: str, headers: dict):
    response = client.request(method, path, headers=headers)

    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["www-authenticate"] == "Bearer"


def test_the_key_is_checked_before_the_body_is_looked_at(client: httpx.Client):
    too_large_and_no_json = client.post("/v1/score", content=b"x" * 2_000_000)

    assert too_large_and_no_json.status_code == 401


@pytest.mark.parametrize(
    "headers", [{"X-API-Key": PLAIN}, {"Authorization": f"Bearer {PLAIN}"}, {"authorization": f"bearer {PLAIN}"}]
)
def test_a_key_is_taken_from_either_header(client: httpx.Client, headers: dict):
    assert client.get("/v1/users/anna/features", headers=headers).status_code == 200


def test_a_key_does_only_what_its_scopes_say(client: httpx.Client):
    reader = {"X-API-Key": READER}

    assert client.get("/v1/users/anna/features", headers=reader).status_code == 200
    refused = client.post("/v1/score", json=SCORE, headers=reader)
    assert refused.status_code == 403
    assert "score" in refused.json()["remedy"]


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/healthz", "/metrics", "/assets/console/main.js"])
def test_probes_metrics_documentation_and_console_are_open(client: httpx.Client, path: str):
    assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    "entry",
    ["robot:score:sha256=abc", f"robot:fly:sha256={DIGEST}", f":score:sha256={DIGEST}", f"a:b:c:sha256={DIGEST}"],
)
def test_a_malformed_entry_is_refused_without_repeating_it(entry: str):
    with pytest.raises(ValueError, match="Entry 2 of API_KEYS") as refused:
        parse_keys(["fine", entry])

    assert DIGEST not in str(refused.value)


def test_an_admin_may_do_everything():
    (key,) = parse_keys([f"root:admin:sha256={DIGEST}"])

    assert key.allows("read")
    assert key.allows("score")


def test_without_keys_everybody_is_let_in_and_with_keys_nobody_without_one():
    assert Keyring(()).authenticate({}).name == "anybody"
    with pytest.raises(Problem):
        Keyring(parse_keys(["k"])).authenticate({})
