"""Whether a TCP port is free, which one is when it is not, and whether somebody answers on it."""

import socket
import urllib.error
import urllib.request
from itertools import pairwise

import psutil

LOOPBACK = "127.0.0.1"


class PortTaken(RuntimeError):
    """Somebody else listens on a port that is needed; the message names the setting and a free port."""


def refuse_taken(port: int, setting: str, host: str = LOOPBACK) -> None:
    """Raise PortTaken when nobody could listen on `port` now; `setting` is the variable to choose another with."""
    if is_free(port, host):
        return
    free = next_free(port, host)
    raise PortTaken(
        f"Port {port} on {host} is in use by {_listener(port)}; the setting behind it is {setting}. "
        f"Stop that program, or use a free port: run again with {setting}={free}."
    )


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """True when a server could listen on `port` now (connections that linger after a close do not count)."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def next_free(port: int, host: str = LOOPBACK) -> int:
    """The smallest port above `port` that is free and whose successor is free too (a broker needs both)."""
    return next(first for first, second in pairwise(range(port + 1, 65_536)) if is_free(first, host) and is_free(second, host))


def accepts(port: int, host: str = LOOPBACK) -> bool:
    """True when somebody accepts connections on `port`."""
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


def replies(port: int, question: bytes, answer: bytes) -> bool:
    """True when whoever listens on `port` of loopback answers `question` with bytes that start with `answer`."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=0.5) as connection:
            connection.sendall(question)
            return connection.recv(len(answer)) == answer
    except OSError:
        return False


def http_get(url: str) -> tuple[int, str]:
    """Status and body of a GET; (0, "") when nobody answers within 2 s."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()
    except OSError:
        return 0, ""


def _listener(port: int) -> str:
    """Who listens on `port`, as far as this user may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listens and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        pass
    return "another program"
