"""API keys: who may ask for what. Keys are kept as hashes and compared in constant time."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from serving.problems import Problem, unauthorized

SCOPES = frozenset({"read", "score", "admin"})

_HASHED = re.compile(r"(?P<name>[^:]+):(?P<scopes>[^:]+):sha256=(?P<digest>[0-9a-fA-F]{64})")


@dataclass(frozen=True)
class ApiKey:
    """A key's name (for logs), what it may do, and the SHA-256 of its bytes."""

    name: str
    scopes: frozenset[str]
    digest: bytes = field(repr=False)

    def allows(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes


ANYBODY = ApiKey("anybody", SCOPES, b"")
"""Who asks when no keys are configured, which is possible on loopback only."""


class FurtherKeys(Protocol):
    """Keys that may be others at the next request."""

    def keys(self) -> tuple[ApiKey, ...]: ...


def parse_keys(entries: Iterable[str], where: str = "API_KEYS") -> tuple[ApiKey, ...]:
    """Read entries of `where`: a plain key has all scopes, `name:scope+scope:sha256=hex` those it names.

    Raises ValueError, without repeating any key, for an entry that looks hashed and is not, or an unknown scope.
    """
    return tuple(_parse(number, entry, where) for number, entry in enumerate(entries, start=1))


class Keyring:
    """Finds the key that a request carries; with no keys at all every request is anybody's."""

    def __init__(self, keys: tuple[ApiKey, ...], further: FurtherKeys | None = None) -> None:
        self._fixed, self._further = keys, further

    def authenticate(self, headers: Mapping[str, str]) -> ApiKey:
        """The key in X-API-Key, else in Authorization: Bearer. Raises the 401 Problem."""
        keys = self._fixed if self._further is None else self._fixed + self._further.keys()
        if not keys:
            return ANYBODY
        given = headers.get("x-api-key") or _bearer(headers.get("authorization", ""))
        if not given:
            raise unauthorized("The request carries no API key")
        digest = hashlib.sha256(given.encode("latin-1")).digest()
        matches = [key for key in keys if hmac.compare_digest(key.digest, digest)]
        if not matches:
            raise unauthorized("The API key is not known")
        return matches[0]


def require_scope(key: ApiKey, scope: str) -> None:
    """Raises the 403 Problem when the key does not have the scope."""
    if not key.allows(scope):
        what = f"The key {key.name} lacks the scope {scope}"
        raise Problem(403, "forbidden", what, "header X-API-Key or Authorization", f"Use a key with the scope {scope}.")


def _parse(number: int, entry: str, where: str) -> ApiKey:
    match = _HASHED.fullmatch(entry)
    if match is None:
        if ":sha256=" in entry:
            raise ValueError(f"Entry {number} of {where} is not name:scope+scope:sha256=<64 hex digits>.")
        return ApiKey(f"key-{number}", SCOPES, hashlib.sha256(entry.encode()).digest())
    scopes = frozenset(match["scopes"].split("+"))
    if not scopes <= SCOPES:
        raise ValueError(f"Entry {number} of {where} ({match['name']}) has a scope other than read, score and admin.")
    return ApiKey(match["name"], scopes, bytes.fromhex(match["digest"]))


def _bearer(authorization: str) -> str:
    scheme, _, credentials = authorization.partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""
