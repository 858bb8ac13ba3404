"""What the service refuses, and how it says so: limits, malformed requests, one form for every error."""

import json
import time
from collections.abc import Callable

import httpx
import pytest
from serving_lab import Service, applied_store, await_ready, both_models, lab_settings, running

from serving.bodies import LARGEST_BODY_BYTES
from serving.problems import ProblemBody

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, own_store: str):
    data_dir = tmp_path_factory.mktemp("requests")
    settings = lab_settings(data_dir, own_store)
    store = applied_store(settings)
    models = {**both_models(data_dir, store), "account_risk": "model account_risk has no champion: only 3 positives"}
    with running(settings, store, models) as running_service:
        await_ready(running_service.client)
        yield running_service


def assert_problem(response: httpx.Response, status: int, where: str | None = None) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = ProblemBody.model_validate(response.json())
    assert problem.status == status
    assert problem.what
    assert problem.remedy
    if where is not None:
        assert problem.where == where


@pytest.mark.parametrize(
    ("transaction", "where"),
    [
        ({"amount_cents": 12.5}, "transaction.amount_cents"),
        ({"amount_cents": 12.0}, "transaction.amount_cents"),
        ({"amount_cents": "12"}, "transaction.amount_cents"),
        ({"amount_cents": True}, "transaction.amount_cents"),
        ({"amount_cents": -1}, "transaction.amount_cents"),
        ({"amount_cents": 10**15 + 1}, "transaction.amount_cents"),
        ({"amount_cents": 2**70}, "transaction.amount_cents"),
        ({"event_type": "purchase"}, "transaction.event_type"),
        ({"event_type": 1}, "transaction.event_type"),
        ({"amount_eur": 1}, "transaction.amount_eur"),
        ({"merchant_id": 7}, "transaction.merchant_id"),
        ({"merchant_id": ""}, "transaction.merchant_id"),
        ({"device_id": "d\u0000"}, "transaction.device_id"),
        ({"country": "D" * 257}, "transaction.country"),
        ({"event_timestamp": "2026-01-01T00:00:00"}, "transaction.event_timestamp"),
        ({"event_timestamp": 1_767_225_600}, "transaction.event_timestamp"),
        ({"event_timestamp": "2026-02-30T00:00:00Z"}, "transaction.event_timestamp"),
        ("payment", "transaction"),
    ],
)
def test_a_transaction_that_does_not_fit_is_refused_by_field(service: Service, transaction: object, where: str):
    assert_problem(service.score({"user_id": "anna", "transaction": transaction}), 422, where)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"user_id": None},
        {"user_id": 5},
        {"user_id": ""},
        {"user_id": "x" * 257},
        {"user_id": "line\nbreak"},
        {"user_id": "escape\u001b[31m"},
        {"user_id": "c1\u0085"},
        {"user_id": "anna", "explain": "yes"},
        {"user_id": "anna", "model": "linear"},
        {"user_id": "anna", "model": "transaction_fraud"},
        {"user_id": "anna", "model": "account_risk", "transaction": {}},
        {"user_id": "anna", "transaction": {"user_id": "bertha"}},
        {"user_id": "anna", "amount_cents": 5},
        [],
        "anna",
    ],
)
def test_a_request_that_does_not_fit_is_refused(service: Service, body: object):
    assert_problem(service.score(body), 422)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"null",
        b"\xff\xfe",
        b'{"user_id": "\\ud800"}',
        b'{"user_id": "anna", "transaction": {"amount_cents": NaN}}',
        b'{"user_id": "anna", "transaction": {"amount_cents": Infinity}}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_json_is_refused(service: Service, text: bytes):
    assert_problem(service.client.post("/v1/score", content=text, headers=JSON), 422)


@pytest.mark.parametrize(
    ("path", "text", "where"),
    [
        ("/v1/score", '{"user_id": "anna", "user_id": "bert"}', "user_id"),
        ("/v1/score", '{"user_id": "anna", "user\\u005fid": "bert"}', "user_id"),
        ("/v1/score", '{"user_id": "anna", "transaction": {"amount_cents": 1, "amount_cents": 9}}', "amount_cents"),
        ("/v1/score/batch", '{"requests": [{"user_id": "anna", "explain": true, "explain": false}]}', "explain"),
    ],
)
def test_a_field_that_stands_twice_is_refused_since_others_may_have_read_the_other_value(
    service: Service, path: str, text: str, where: str
):
    assert_problem(service.client.post(path, content=text, headers=JSON), 422, where)


def test_a_model_that_could_not_be_trained_is_refused_with_the_reason(service: Service):
    response = service.score({"user_id": "anna"})

    assert_problem(response, 422)
    assert "only 3 positives" in response.json()["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {},
        {**JSON, "Content-Encoding": "gzip"},
    ],
)
def test_only_plain_json_is_read(service: Service, headers: dict[str, str]):
    assert_problem(service.client.post("/v1/score", content=b'{"user_id": "anna"}', headers=headers), 415)


def test_a_charset_beside_the_media_type_does_not_matter(service: Service):
    headers = {"Content-Type": "application/json; charset=utf-8"}

    response = service.client.post("/v1/score", content=b'{"user_id": "anna", "transaction": {}}', headers=headers)

    assert response.status_code == 200


def test_a_body_of_one_megabyte_is_read_and_one_byte_more_is_not(service: Service):
    request = json.dumps({"user_id": "anna", "transaction": {}}).encode()
    largest = request + b" " * (LARGEST_BODY_BYTES - len(request))

    assert service.client.post("/v1/score", content=largest, headers=JSON).status_code == 200
    assert_problem(service.client.post("/v1/score", content=largest + b" ", headers=JSON), 413)


def test_a_body_of_unknown_length_is_cut_off_at_one_megabyte(service: Service):
    chunks = (b" " * 100_000 for _ in range(30))

    assert_problem(service.client.post("/v1/score", content=chunks, headers=JSON), 413)


@pytest.mark.parametrize("requests", [[], [{"user_id": "anna", "transaction": {}}] * 1_001])
def test_a_batch_has_one_to_a_thousand_requests(service: Service, requests: list):
    assert_problem(service.client.post("/v1/score/batch", json={"requests": requests}), 422, "requests")


def not_busy(ask: Callable[[], httpx.Response], times: int = 10) -> httpx.Response:
    """The answer of a service that may be too busy for a moment, and says so: whoever asks comes again after Retry-After."""
    for _ in range(times):
        answer = ask()
        if answer.status_code != 503:
            break
        time.sleep(float(answer.headers["retry-after"]))
    return answer


def test_a_batch_of_a_thousand_is_answered(service: Service):
    requests = [{"user_id": f"u{number}", "transaction": {}} for number in range(1_000)]

    response = not_busy(lambda: service.client.post("/v1/score/batch", json={"requests": requests}))

    assert response.status_code == 200, response.text
    assert len(response.json()["responses"]) == 1_000


def test_a_batch_with_one_bad_request_is_refused_whole(service: Service):
    requests = [{"user_id": "anna", "transaction": {}}, {"user_id": "bertha", "transaction": {"amount_cents": 1.5}}]

    response = service.client.post("/v1/score/batch", json={"requests": requests})

    assert_problem(response, 422, "requests.1.transaction.amount_cents")


@pytest.mark.parametrize("user_id", ["a%0Ab", "a%00", "%C2%85", "x" * 257, "a%FFb", ""])
def test_a_user_id_in_a_path_has_the_same_limits(service: Service, user_id: str):
    assert_problem(service.client.get(f"/v1/users/{user_id}/features"), 422, "user_id")


@pytest.mark.parametrize(
    "query",
    [
        "as_of=2026-01-01T00:00:00",
        "as_of=2026-01-01",
        "as_of=yesterday",
        "as_of=",
        "as_of=1767225600",
        "as_of=2026-13-01T00:00:00Z",
        "as_of=2026-01-01T00:00:00%2B02:60",
        "as_of=2026-01-01T00:00:00Z&as_of=2026-01-01T00:00:00Z",
        "asof=2026-01-01T00:00:00Z",
    ],
)
def test_an_as_of_without_offset_or_twice_or_misspelt_is_refused(service: Service, query: str):
    assert_problem(service.client.get(f"/v1/users/anna/features?{query}"), 422)


def test_a_plus_that_was_not_encoded_is_understood(service: Service):
    answer = service.client.get("/v1/users/anna/features?as_of=2031-01-01T01:00:00+01:00").json()

    assert answer["as_of"] == "2031-01-01T00:00:00.000000Z"


@pytest.mark.parametrize("path", ["/nothing", "/v1/nothing", "/v1/score/", "/v2/score", "/assets/console/nothing"])
def test_an_unknown_path_is_a_problem_too(service: Service, path: str):
    assert_problem(service.client.get(path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("GET", "/v1/score", "POST"), ("PUT", "/v1/score/batch", "POST"), ("DELETE", "/v1/users/anna/features", "GET")],
)
def test_a_wrong_method_is_a_problem_that_says_the_right_one(service: Service, method: str, path: str, allow: str):
    response = service.client.request(method, path)

    assert_problem(response, 405)
    assert response.headers["allow"] == allow


def test_a_failure_of_the_service_is_a_problem_with_a_request_id_and_no_inside(service: Service, monkeypatch):
    monkeypatch.setattr(type(service.store), "read_online", lambda *_, **__: 1 / 0)

    response = service.score({"user_id": "anna", "transaction": {}})

    assert_problem(response, 500)
    assert response.headers["x-request-id"] in response.json()["where"]
    assert "division" not in response.text


def test_the_document_declares_the_errors_and_the_keys(service: Service):
    document = service.client.get("/openapi.json").json()

    for path in ("/v1/score", "/v1/score/batch", "/v1/users/{user_id}/features"):
        (operation,) = document["paths"][path].values()
        assert {"200", "401", "422", "503"} <= set(operation["responses"])
        problem = operation["responses"]["422"]["content"]["application/problem+json"]["schema"]
        assert problem == {"$ref": "#/components/schemas/ProblemBody"}
        assert operation["security"]
    assert {"ScoreRequest", "Transaction", "BatchRequest", "ScoreResponse"} <= set(document["components"]["schemas"])


def test_every_reference_of_the_document_leads_somewhere(service: Service):
    document = service.client.get("/openapi.json").json()

    references = set(json.dumps(document).split('"$ref": "')[1:])
    names = {reference.split('"')[0].removeprefix("#/components/schemas/") for reference in references}
    assert names <= set(document["components"]["schemas"])
