"""Whatever is sent, the answer is one that /openapi.json declares, its body fits the schema, and it is never a 500."""

import json
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_lab import Service, applied_store, await_ready, both_models, lab_settings, running

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
HOSTILE = st.sampled_from(
    ["<script>alert(1)</script>", "'; DROP TABLE users; --", "x" * 10_000, "\u0000", "\u202e", "../..", "%00"]
)
TEXTS = st.text(max_size=300) | HOSTILE | ANYTHING
FIELDS = [
    "merchant_id",
    "device_id",
    "event_type",
    "category",
    "channel",
    "country",
    "amount_cents",
    "event_timestamp",
    "event_id",
]
TRANSACTIONS = st.dictionaries(st.sampled_from([*FIELDS, "user_id", "other"]), TEXTS | st.just("payment"), max_size=4)
REQUESTS = st.fixed_dictionaries(
    {"user_id": TEXTS | st.just("anna")},
    optional={"transaction": TRANSACTIONS | ANYTHING, "model": TEXTS, "explain": st.booleans() | ANYTHING},
)
OFTEN = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, own_store: str):
    data_dir = tmp_path_factory.mktemp("openapi")
    store = applied_store(lab := lab_settings(data_dir, own_store))
    with running(lab, store, both_models(data_dir, store)) as running_service:
        await_ready(running_service.client)
        yield running_service


@pytest.fixture(scope="module")
def document(service: Service) -> dict[str, Any]:
    return service.client.get("/openapi.json").json()


def assert_declared(document: dict[str, Any], path: str, method: str, response: httpx.Response) -> None:
    declared = document["paths"][path][method]["responses"]
    assert response.status_code < 500 or response.status_code == 503, response.text
    assert str(response.status_code) in declared, response.text
    media_type = response.headers["content-type"].split(";")[0]
    schema = declared[str(response.status_code)]["content"][media_type]["schema"]
    jsonschema.validate(response.json(), {**schema, "components": document["components"]})


@OFTEN
@given(body=REQUESTS | ANYTHING)
def test_a_score_is_answered_as_declared(service: Service, document: dict[str, Any], body: Any):
    response = service.client.post("/v1/score", content=json.dumps(body).encode(), headers={"Content-Type": "application/json"})

    assert_declared(document, "/v1/score", "post", response)


@OFTEN
@given(body=st.fixed_dictionaries({"requests": st.lists(REQUESTS, max_size=3) | ANYTHING}) | ANYTHING)
def test_a_batch_is_answered_as_declared(service: Service, document: dict[str, Any], body: Any):
    response = service.client.post("/v1/score/batch", json=body)

    assert_declared(document, "/v1/score/batch", "post", response)


@OFTEN
@given(user_id=st.text(min_size=1, max_size=40) | HOSTILE, as_of=st.none() | st.text(max_size=30) | st.datetimes().map(str))
@pytest.mark.parametrize("what", ["features", "events"])
def test_a_users_state_is_answered_as_declared(service: Service, document: dict, what: str, user_id: str, as_of: str | None):
    query = {} if as_of is None else {"as_of": as_of}
    response = service.client.get(f"/v1/users/{quote(user_id, safe='')}/{what}", params=query)

    if user_id not in (".", ".."):  # an HTTP client takes these for steps in the path
        assert_declared(document, f"/v1/users/{{user_id}}/{what}", "get", response)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/status"])
def test_what_an_operator_asks_is_answered_as_declared(service: Service, document: dict[str, Any], path: str):
    assert_declared(document, path, "get", service.client.get(path))
