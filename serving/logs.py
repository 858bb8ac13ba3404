"""Log lines: one JSON object each, with the request id, with secrets masked and without users' names."""

import logging
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import orjson

LOGGER = logging.getLogger("plumbline.serving")
_MASK = "***"


def set_up(secrets: Iterable[str]) -> None:
    """Send all log lines of the process to stderr, each as one line of JSON, the secrets replaced by asterisks."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine(secret for secret in secrets if secret))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    LOGGER.setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def event(name: str, **fields: Any) -> None:
    """Log that something happened."""
    LOGGER.info(name, extra={"fields": fields})


def secrets_of(connection_string: str, further: Iterable[str]) -> list[str]:
    """Every text that must not be printed: further ones (keys, digests), and the store's password."""
    parts = (part.partition("=") for part in connection_string.split(","))
    return [*further, *(value for name, _, value in parts if "password" in name.lower())]


class _OneLine(logging.Formatter):
    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        self._secrets = sorted(secrets, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        text = orjson.dumps(line, default=str).decode()
        for secret in self._secrets:
            text = text.replace(secret, _MASK)
        return text
