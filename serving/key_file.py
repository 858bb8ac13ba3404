"""API_KEYS_FILE: keys that are added and withdrawn while the service runs."""

import time
from pathlib import Path

from serving import logs
from serving.keys import ApiKey, parse_keys

LOOK_EVERY_S = 1.0


class KeyFile:
    """Entries as in API_KEYS, one a line, # for comments; a change of the file counts within LOOK_EVERY_S.

    A file that has gone, or has a malformed entry, leaves the keys as they were and says so in the log: a mistake
    while editing locks nobody out. Raises ValueError when it is so at the start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp, self._looked_s = self._stamp_now(), time.monotonic()
        self._keys = self._read()

    def keys(self) -> tuple[ApiKey, ...]:
        if time.monotonic() - self._looked_s > LOOK_EVERY_S:
            self._looked_s = time.monotonic()
            self._look()
        return self._keys

    def _look(self) -> None:
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = self._read()
        except ValueError as error:
            logs.event("API_KEYS_FILE was not taken over", reason=str(error))
        else:
            logs.event("API_KEYS_FILE was read anew", keys=[key.name for key in self._keys])

    def _stamp_now(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _read(self) -> tuple[ApiKey, ...]:
        try:
            lines = (line.strip() for line in self._path.read_text().splitlines())
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"API_KEYS_FILE={self._path} cannot be read ({error.__class__.__name__}).") from None
        entries = [line for line in lines if line and not line.startswith("#")]
        if not entries:
            raise ValueError(f"API_KEYS_FILE={self._path} has no entry; write a key a line.")
        return parse_keys(entries, f"API_KEYS_FILE={self._path}")
