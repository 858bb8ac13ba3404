"""The connection to the online store: a script runs once for each call, whatever the server knows of it."""

import threading

import pytest
import redis

from plumbline.store_client import StoreAddress, StoreClient

COUNT = "return redis.call('INCR', KEYS[1])"
CALLS, ROUNDS = 2_000, 8


@pytest.fixture
def client(own_store: str) -> StoreClient:
    return StoreClient(StoreAddress(own_store, "redis"), timeout_ms=5_000)


def test_a_script_that_somebody_else_loads_in_the_middle_of_its_calls_runs_once_for_each(client: StoreClient, own_store: str):
    host, port = own_store.partition(",")[0].split(":")
    other = redis.Redis(host=host, port=int(port))
    for number in range(1, ROUNDS + 1):
        other.script_flush()
        loading = threading.Timer(0.002, other.script_load, [COUNT])
        loading.start()
        answers = client.scripts(COUNT, [([f"counted:{call}"], []) for call in range(CALLS)])
        loading.join()
        assert set(answers) == {number}
