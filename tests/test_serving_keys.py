"""Who may ask: keys, their scopes, and what is open to everybody."""

import hashlib
from pathlib import Path

import httpx
import pytest
from serving_lab import applied_store, both_models, lab_settings, running

from serving import key_file
from serving.key_file import KeyFile
from serving.keys import ApiKey, Keyring, parse_keys
from serving.problems import Problem
from serving.rate_limits import RateLimits

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


def test_a_key_that_is_added_to_or_taken_from_the_file_counts_without_a_restart(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(key_file, "LOOK_EVERY_S", 0)
    path = tmp_path / "keys"
    path.write_text(f"# of the dashboard\ndashboard:read:sha256={DIGEST}\n")
    keyring = Keyring((), KeyFile(path))
    assert keyring.authenticate({"x-api-key": READER}).name == "dashboard"

    path.write_text(f"{PLAIN}\n")

    assert keyring.authenticate({"x-api-key": PLAIN}).allows("score")
    with pytest.raises(Problem):
        keyring.authenticate({"x-api-key": READER})


@pytest.mark.parametrize("written", [None, "", "# nobody\n", "robot:fly:sha256=abc\n"])
def test_a_mistake_in_the_file_locks_nobody_out_and_does_not_start(tmp_path: Path, monkeypatch, written: str | None):
    monkeypatch.setattr(key_file, "LOOK_EVERY_S", 0)
    path = tmp_path / "keys"
    path.write_text(f"{PLAIN}\n")
    keyring = Keyring((), KeyFile(path))

    path.unlink() if written is None else path.write_text(written)

    assert keyring.authenticate({"x-api-key": PLAIN}).allows("score")
    with pytest.raises(ValueError, match="API_KEYS_FILE="):
        KeyFile(path)


ROBOT, DASHBOARD = (ApiKey("key-1", frozenset({"read"}), digest) for digest in (b"robot", b"dashboard"))
"""Two plain keys, one of API_KEYS and one of API_KEYS_FILE: both are the first of their list, and have its name."""


def test_a_key_past_its_rate_is_told_when_to_come_again_and_the_others_are_not_held_up():
    now_s = 100.0
    limits = RateLimits(3, clock=lambda: now_s)
    for _ in range(3):
        limits.take(ROBOT)

    with pytest.raises(Problem) as refused:
        limits.take(ROBOT)
    limits.take(DASHBOARD)

    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "1"})
    now_s += 0.34
    limits.take(ROBOT)
    with pytest.raises(Problem):
        limits.take(ROBOT)


def test_a_limited_service_answers_429_with_what_to_do(tmp_path: Path, own_store: str):
    settings = lab_settings(tmp_path, own_store, API_KEYS=PLAIN, RATE_LIMIT_PER_S="2")
    store = applied_store(settings)
    with running(settings, store, both_models(tmp_path, store)) as service:
        answers = [service.client.get("/v1/status", headers={"X-API-Key": PLAIN}) for _ in range(20)]
        probe = service.client.get("/healthz")

    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert answers[0].status_code == answers[1].status_code == 200
    assert refused[0].headers["retry-after"] == "1"
    assert "RATE_LIMIT_PER_S" in refused[0].json()["remedy"]
    assert probe.status_code == 200


def test_an_admin_may_do_everything():
    (key,) = parse_keys([f"root:admin:sha256={DIGEST}"])

    assert key.allows("read")
    assert key.allows("score")


def test_without_keys_everybody_is_let_in_and_with_keys_nobody_without_one():
    assert Keyring(()).authenticate({}).name == "anybody"
    with pytest.raises(Problem):
        Keyring(parse_keys(["k"])).authenticate({})
