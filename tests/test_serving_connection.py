"""What happens on a connection that brings no whole request, or something that is no HTTP."""

import json
import re
import socket
import time
from contextlib import suppress

import pytest
from serving_lab import Service, applied_store, await_ready, both_models, lab_settings, running

from serving import connection
from serving.guard import SECURITY_HEADERS
from serving.problems import ProblemBody

BODY = b'{"user_id":"anna"}'
HEAD = b"POST /v1/score HTTP/1.1\r\nHost: bank\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(BODY)
WHOLE = HEAD + b"\r\n" + BODY
LAST = HEAD + b"Connection: close\r\n\r\n" + BODY


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, own_store: str):
    data_dir = tmp_path_factory.mktemp("connection")
    settings = lab_settings(data_dir, own_store)
    store = applied_store(settings)
    with running(settings, store, both_models(data_dir, store)) as running_service:
        await_ready(running_service.client)
        yield running_service


def told(service: Service, *pieces: bytes, pause_s: float = 0) -> bytes:
    """Everything that comes back on one connection until the service closes it."""
    answer = b""
    with socket.create_connection(("127.0.0.1", service.client.base_url.port), timeout=10) as peer:
        for piece in pieces:
            peer.sendall(piece)
            time.sleep(pause_s)
        while more := peer.recv(65_536):
            answer += more
    return answer


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", answer)]


def assert_only_a_problem(answer: bytes, status: int) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert statuses(answer) == [status]
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert ProblemBody.model_validate(json.loads(body)).status == status
    assert headers["Content-Type"] == "application/problem+json"
    assert len(headers["X-Request-Id"]) == 32
    assert headers.items() >= SECURITY_HEADERS.items()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"BREW /v1/score HTTP/1.1\r\n\r\n",
        b"GET /v1/users/caf\xc3\xa9/features HTTP/1.1\r\nHost: bank\r\n\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: bank\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST /v1/score HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["tls", "method", "path", "longpath", "header", "chunk"],
)
def test_what_is_no_http_is_a_problem_with_the_services_headers(service: Service, sent: bytes):
    assert_only_a_problem(told(service, sent), 400)


@pytest.mark.parametrize("sent", [HEAD, HEAD + b"\r\n" + BODY[:5]], ids=["head", "body"])
def test_a_request_that_does_not_arrive_in_time_is_ended(service: Service, monkeypatch: pytest.MonkeyPatch, sent: bytes):
    monkeypatch.setattr(connection, "ARRIVES_WITHIN_S", 0.2)

    assert_only_a_problem(told(service, sent), 408)


def test_a_connection_that_asks_nothing_is_closed_without_a_word(service: Service, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "ARRIVES_WITHIN_S", 0.2)

    assert told(service) == b""


def test_a_drip_does_not_put_the_end_off(service: Service, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "ARRIVES_WITHIN_S", 0.3)
    answer = b""
    with socket.create_connection(("127.0.0.1", service.client.base_url.port), timeout=0.05) as peer:
        peer.sendall(HEAD + b"X: ")
        for _ in range(200):
            with suppress(TimeoutError):
                answer = peer.recv(65_536)
                break
            peer.sendall(b"x")

    assert_only_a_problem(answer, 408)


def test_a_refused_body_that_never_comes_gets_no_second_answer(service: Service, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "ARRIVES_WITHIN_S", 0.3)
    refused = HEAD.replace(b"application/json", b"text/plain") + b"\r\n{"

    assert statuses(told(service, refused)) == [415]


def test_what_arrives_slowly_but_in_time_and_one_after_the_other_is_answered(service: Service):
    assert statuses(told(service, WHOLE, HEAD, b"\r\n" + BODY[:4], BODY[4:], WHOLE + LAST, pause_s=0.02)) == [200] * 4


def test_requests_that_follow_one_another_have_a_deadline_and_a_size_each(service: Service, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "ARRIVES_WITHIN_S", 2.0)
    monkeypatch.setattr(connection, "LARGEST_HEAD_BYTES", len(HEAD))
    middle = HEAD[20:] + b"\r\n" + BODY + HEAD[:20]

    assert statuses(told(service, HEAD[:20], *[middle] * 4, HEAD[20:] + b"\r\n" + BODY, LAST, pause_s=0.4)) == [200] * 6


def test_an_endless_head_is_refused(service: Service):
    head = b"GET / HTTP/1.1\r\nX: "

    assert_only_a_problem(told(service, head, b"x" * (connection.LARGEST_HEAD_BYTES + 1), pause_s=0.05), 431)


def test_an_upgrade_to_another_protocol_is_ignored_and_the_connection_kept(service: Service):
    for protocol in (b"websocket", b"h2c"):
        asking = HEAD + b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n" + BODY

        assert statuses(told(service, asking, LAST, pause_s=0.05)) == [200, 200]
