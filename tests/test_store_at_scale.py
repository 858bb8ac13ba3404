"""The online store as large companies run it: a cluster of nodes, and a server with TLS and a password."""

import asyncio
import contextlib
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import naive
import pytest
import redis
from engine_lab import BY_MERCHANT, BY_USER, Lab, differences, event, frame, materialize, online, row, streamed
from free_ports import free_port
from naive import DAY, MINUTE, SECOND
from stream_lab import until

from plumbline import StoreUnavailable
from plumbline.store_client import StoreAddress, StoreClient
from stack.redis_server import server_binary

VIEWS = (BY_USER, BY_MERCHANT)
USERS = [f"user {number}" for number in range(40)]
SLOTS = 16_384


@contextlib.contextmanager
def server(folder: Path, *options: str) -> Iterator[None]:
    """A store with nothing kept on disk; it is asked nothing here."""
    folder.mkdir(parents=True)
    command = [server_binary(), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    """Ports of three nodes that share the slots."""
    folder = tmp_path_factory.mktemp("cluster")
    ports = [free_port() for _ in range(3)]
    with contextlib.ExitStack() as nodes:
        for port in ports:
            options = ("--port", str(port), "--cluster-enabled", "yes", "--cluster-port", str(port + 1))
            nodes.enter_context(server(folder / str(port), *options))
        form_cluster(ports)
        yield ports


def form_cluster(ports: Sequence[int]) -> None:
    clients = [redis.Redis(port=port) for port in ports]
    for client in clients:
        until(lambda client=client: answers(client), within_s=30)
    share = -(-SLOTS // len(ports))
    for number, client in enumerate(clients):
        client.execute_command("CLUSTER ADDSLOTSRANGE", number * share, min(SLOTS, (number + 1) * share) - 1)
    for port in ports[1:]:
        clients[0].execute_command("CLUSTER MEET", "127.0.0.1", port, port + 1)
    until(lambda: all(client.cluster("info")["cluster_state"] == "ok" for client in clients), within_s=60)
    until(lambda: all(client.cluster("info")["cluster_known_nodes"] == "3" for client in clients), within_s=60)


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def test_states_spread_over_a_cluster_and_every_value_is_the_definitions(cluster: list[int], tmp_path: Path):
    lab = Lab(tmp_path, f"127.0.0.1:{cluster[0]}", redis_type="redis_cluster")
    now = int(time.time()) * SECOND
    past = [event(now - DAY - n * MINUTE, n, user_id=user, amount_cents=n) for n, user in enumerate(USERS)]
    live = [
        streamed(now - MINUTE, n // 2, 100 + n, partition=n % 2, user_id=user, created_timestamp=now)
        for n, user in enumerate(USERS)
    ]
    rows = [row(now, user_id=user) for user in USERS]
    lab.write(past)
    store = lab.applied(VIEWS)

    materialize(store)
    store.push("events", frame(live))

    assert differences(online(store, rows, now, VIEWS), past + live, rows, VIEWS) == []
    assert store.positions("by_user") == {0: 19, 1: 19}
    assert all(redis.Redis(port=port).dbsize() > 0 for port in cluster)
    answers = store.read_online(BY_USER.features(), [{"user_id": user} for user in USERS])
    assert all(answer.known for answer in answers)


def test_a_cluster_of_which_one_node_stops_answering_is_a_store_that_is_away(cluster: list[int]):
    client = StoreClient(StoreAddress(f"127.0.0.1:{cluster[0]}", "redis_cluster"), timeout_ms=200)
    commands = [("HGETALL", f"user {{{number}}}") for number in range(12)]
    client.pipeline(commands)  # so that it is connected to every node

    redis.Redis(port=cluster[1]).client_pause(5_000)

    with pytest.raises(StoreUnavailable):
        client.pipeline(commands)
    until(lambda: client_answers(client, commands), within_s=30)


def client_answers(client: StoreClient, commands: Sequence[tuple[str, str]]) -> bool:
    try:
        return client.pipeline(commands) == [{}] * len(commands)
    except StoreUnavailable:
        return False


def test_a_cluster_is_emptied_of_a_view_that_is_deleted(cluster: list[int], tmp_path: Path):
    lab = Lab(tmp_path, f"127.0.0.1:{cluster[1]},127.0.0.1:{cluster[0]}", redis_type="redis_cluster")
    before = keys_of(cluster)
    lab.write([event(naive.DAY, n, user_id=user) for n, user in enumerate(USERS)])
    store = lab.applied((BY_USER,))
    materialize(store)
    assert keys_of(cluster) > before

    store.teardown()

    assert keys_of(cluster) == before


def keys_of(ports: Sequence[int]) -> int:
    return sum(redis.Redis(port=port).dbsize() for port in ports)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key and a certificate for 127.0.0.1 that signs itself."""
    folder = tmp_path_factory.mktemp("certificate")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-keyout", key, "-out", certificate, "-subj", "/CN=store", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, certificate


@contextlib.contextmanager
def tls_in_front_of(port: int, certificate: tuple[Path, Path]) -> Iterator[int]:
    """A port that speaks TLS and passes everything on (the Valkey of the tests is built without it)."""
    key, signed = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(signed, key)
    loop, outside = asyncio.new_event_loop(), free_port()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(passed_on(reader, inner_writer), passed_on(inner_reader, writer))

    async def passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    listening = loop.run_until_complete(asyncio.start_server(relay, "127.0.0.1", outside, ssl=context))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield outside
    finally:
        loop.call_soon_threadsafe(listening.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def test_a_store_behind_tls_and_a_password_answers_whoever_knows_both(certificate: tuple[Path, Path], tmp_path: Path):
    inside = free_port()
    now = int(datetime.now(UTC).timestamp()) * SECOND
    with (
        server(tmp_path / "server", "--port", str(inside), "--requirepass", "0042"),
        tls_in_front_of(inside, certificate) as port,
    ):
        until(lambda: answers(redis.Redis(port=inside, password="0042")), within_s=30)
        address = f"127.0.0.1:{port},ssl=true,ssl_ca_certs={certificate[1]}"
        store = Lab(tmp_path / "known", f"{address},password=0042").applied((BY_USER,))
        stranger = Lab(tmp_path / "stranger", address).applied((BY_USER,))

        store.push("events", frame([streamed(now - SECOND, 0, created_timestamp=now)]))

        answer = store.read_online(["by_user:amount_cents_count_1d"], [{"user_id": "ann"}])[0]
        assert answer.features == {"by_user__amount_cents_count_1d": 1}
        with pytest.raises(StoreUnavailable, match="Authentication required"):
            stranger.read_online(["by_user:amount_cents_count_1d"], [{"user_id": "ann"}])
