"""The connection to the online store: a script runs once for each call, and every answer is that of its own command."""

import threading

import pytest
import redis

from plumbline.store_client import StoreAddress, StoreClient, StoreUnavailable

COUNT = "return redis.call('INCR', KEYS[1])"
CALLS, ROUNDS = 2_000, 8


@pytest.fixture
def client(own_store: str) -> StoreClient:
    return StoreClient(StoreAddress(own_store, "redis"), timeout_ms=5_000)


def somebody_else(store: str) -> redis.Redis:
    host, port = store.partition(",")[0].split(":")
    return redis.Redis(host=host, port=int(port))


def test_a_script_that_somebody_else_loads_in_the_middle_of_its_calls_runs_once_for_each(client: StoreClient, own_store: str):
    other = somebody_else(own_store)
    for number in range(1, ROUNDS + 1):
        other.script_flush()
        loading = threading.Timer(0.002, other.script_load, [COUNT])
        loading.start()
        answers = client.scripts(COUNT, [([f"counted:{call}"], []) for call in range(CALLS)])
        loading.join()
        assert set(answers) == {number}


def test_a_command_that_the_server_refuses_is_told_and_the_next_call_reads_its_own_answers(client: StoreClient):
    client.pipeline([("SET", "text", "x"), ("SET", "other", "y")])
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        client.pipeline([("HGETALL", "text"), ("GET", "other")])
    assert client.pipeline([("GET", "other"), ("GET", "text")]) == [b"y", b"x"]


def test_an_answer_that_came_too_late_is_not_taken_for_that_of_the_next_command(own_store: str):
    client, other = StoreClient(StoreAddress(own_store, "redis"), timeout_ms=100), somebody_else(own_store)
    client.pipeline([("SET", "first", "1"), ("SET", "second", "2")])
    other.client_pause(400)
    with pytest.raises(StoreUnavailable):
        client.pipeline([("GET", "first")])
    other.client_unpause()
    assert client.pipeline([("GET", "second")]) == [b"2"]
