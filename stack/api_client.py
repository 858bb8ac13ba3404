"""Calls of the running API, as any client makes them."""

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

from feature_repo.settings import Settings
from stack import served


class ApiRefusedError(RuntimeError):
    """The API answered with a problem; the message holds its title and detail."""


def features(settings: Settings, user_id: str) -> dict[str, Any]:
    """A user's features now: GET /v1/users/{user_id}/features."""
    return _call(settings, f"/v1/users/{quote(user_id, safe='')}/features")


def score(settings: Settings, user_id: str, transaction: dict[str, Any]) -> dict[str, Any]:
    """The decision about a transaction, with its reasons: POST /v1/score."""
    return _call(settings, "/v1/score", {"user_id": user_id, "transaction": transaction, "explain": True})


def _call(settings: Settings, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", **settings.key_header}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{served.address(settings)}{path}", data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)
    except urllib.error.HTTPError as refusal:
        raise ApiRefusedError(f"{path} answered {refusal.code}: {_reason(refusal.read())}") from None
    except OSError as error:
        raise ApiRefusedError(f"{path}: the API does not answer ({error}). Run `make status`.") from None


def _reason(body: bytes) -> str:
    try:
        problem = json.loads(body)
        return f"{problem['title']}: {problem['detail']}. {problem.get('remedy', '')}".strip()
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:200]
