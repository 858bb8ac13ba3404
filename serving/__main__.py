"""`python -m serving`: refuse what must not start, then start what takes long in parallel."""

import ipaddress
import signal
import socket
import sys
import time

import prometheus_client  # noqa: F401  before feast, whose import would move every metric into files

from feature_repo import kafka_address
from feature_repo.settings import Settings
from serving import logs
from serving.champions import ChampionError, ChampionFetch
from serving.keys import parse_keys


class Refused(RuntimeError):
    """The service must not start; the message says why and what to run."""


def main() -> int:
    """Serve until stopped. Returns 1, after one line that says what to do, when it must not or cannot start."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # an orderly end, also while starting
    try:
        start(Settings.from_env())
    except KeyboardInterrupt:
        return 0
    except (Refused, ChampionError, ValueError) as error:
        print(f"serving: {error}", file=sys.stderr)
        return 1
    return 0


def start(settings: Settings) -> None:
    """Hold the address, fetch the champions while the store's libraries load, then serve."""
    started = time.perf_counter()
    refuse_open_service(settings)
    keys = [*settings.api_keys, *kafka_address.secrets(settings.kafka_bootstrap_servers)]
    logs.set_up(logs.secrets_of(settings.redis_connection_string, keys))
    listener = bound_socket(settings.api_host, settings.api_port)
    fetching = ChampionFetch(settings.mlflow_tracking_uri, settings.data_dir / "models")
    try:
        from serving.service import serve  # takes seconds to import, while the champions are being fetched

        serve(settings, listener, fetching, started)
    finally:
        fetching.stop()


def refuse_open_service(settings: Settings) -> None:
    """Without keys the service answers whoever can reach it, so then only this machine may. Raises Refused."""
    parse_keys(settings.api_keys)
    if not settings.api_keys and settings.api_keys_file is None and not _is_loopback(settings.api_host):
        raise Refused(
            f"API_HOST={settings.api_host} can be reached from outside and API_KEYS is empty, so anybody could read "
            "users' features. Set API_KEYS, or API_HOST=127.0.0.1."
        )


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that holds the address but does not listen yet. Raises Refused when the port is in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise Refused(f"{host}:{port} cannot be used ({error.strerror}); set API_PORT or API_HOST.") from error
    return bound


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main())
