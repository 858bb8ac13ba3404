"""Noticing that the registry has another champion, without importing MLflow: that costs seconds, and this is asked often."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from serving.champions import ALIAS, MODEL_NAMES

SQLITE = "sqlite:///"
TIMEOUT_S = 3.0

Signature = tuple[object, ...]


def signature(tracking_uri: str, names: Sequence[str] = MODEL_NAMES, alias: str = ALIAS) -> Signature:
    """Something that changes when the version under an alias does: of a server the versions, of a database file
    its time of writing.

    Empty where the registry cannot be watched. Raises OSError or ValueError while a server does not answer.
    """
    if tracking_uri.startswith(("http://", "https://")):
        return tuple(_version(tracking_uri, name, alias) for name in names)
    if tracking_uri.startswith(SQLITE):
        file = Path(tracking_uri.removeprefix(SQLITE))
        return tuple(path.stat().st_mtime_ns for path in (file, file.with_name(f"{file.name}-wal")) if path.exists())
    return ()


def _version(tracking_uri: str, name: str, alias: str) -> str | None:
    query = urllib.parse.urlencode({"name": name, "alias": alias})
    url = f"{tracking_uri.rstrip('/')}/api/2.0/mlflow/registered-models/alias?{query}"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            return str(json.load(answer)["model_version"]["version"])
    except urllib.error.HTTPError as error:
        if error.code in (400, 404):  # no such model or alias; 400 is INVALID_PARAMETER_VALUE
            return None
        raise
