"""Ports for what a test starts: no other test process on this machine is given them, and no outgoing connection takes them."""

import fcntl
import itertools
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO

from stack import ports

FIRST, PORTS_EACH, SHARES = 10_000, 1_000, 20
"""Below 32768, where Linux begins to take ports for outgoing connections (ip_local_port_range)."""


def free_port() -> int:
    """A free port whose successor is free too (a broker needs both); each is given once until a share's 1,000 are used up."""
    return next(port for port in _candidates() if ports.is_free(port) and ports.is_free(port + 1))


@cache
def _candidates() -> Iterator[int]:
    first = FIRST + _share()[0] * PORTS_EACH
    return itertools.cycle(range(first, first + PORTS_EACH, 2))


@cache
def _share() -> tuple[int, IO[str]]:
    """The number of a share of the ports that is this process's own while it lives, and the lock that says so."""
    folder = Path(tempfile.gettempdir()) / "plumbline-test-ports"
    folder.mkdir(exist_ok=True)
    for number in range(SHARES):
        lock = (folder / f"{number}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return number, lock
    raise RuntimeError(f"{SHARES} test processes run on this machine already; end some of them")
