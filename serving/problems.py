"""Errors as the caller sees them: application/problem+json (RFC 9457) with what, where and remedy."""

from http import HTTPStatus
from typing import Any

import orjson
from pydantic import BaseModel, Field
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
LONGEST_ECHO = 200
"""Characters of the caller's own text that an error repeats at most."""


class ProblemBody(BaseModel):
    """What every error looks like."""

    type: str = Field(description="URN of the kind of problem, stable across releases")
    title: str
    status: int
    detail: str = Field(description="what and where, in one sentence")
    what: str = Field(description="what is wrong")
    where: str = Field(description="the field, header, path or part that is meant")
    remedy: str = Field(description="what to change or run")


class Problem(Exception):
    """An error with its HTTP answer.

    kind    short name, becomes the type `urn:plumbline:problem:<kind>`
    what    what is wrong; where: the field or part; remedy: what to change or run
    headers further response headers, such as Retry-After
    """

    def __init__(
        self, status: int, kind: str, what: str, where: str, remedy: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(what)
        self.status, self.kind, self.headers = status, kind, headers or {}
        self.what, self.where, self.remedy = what, where, remedy

    def body(self) -> dict[str, Any]:
        return {
            "type": f"urn:plumbline:problem:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": f"{self.what} ({self.where}).",
            "what": self.what,
            "where": self.where,
            "remedy": self.remedy,
        }

    def response(self) -> Response:
        return Response(orjson.dumps(self.body()), self.status, self.headers, MEDIA_TYPE)


def unprocessable(kind: str, what: str, where: str, remedy: str) -> Problem:
    return Problem(422, kind, what, where, remedy)


def unauthorized(what: str) -> Problem:
    return Problem(
        401,
        "unauthorized",
        what,
        "header X-API-Key or Authorization: Bearer",
        "Send one of the keys that the service was started with (API_KEYS).",
        {"WWW-Authenticate": "Bearer"},
    )


def unavailable(kind: str, what: str, where: str, remedy: str, retry_after_s: int = 1) -> Problem:
    return Problem(503, kind, what, where, remedy, {"Retry-After": str(retry_after_s)})


def internal(request_id: str) -> Problem:
    return Problem(
        500,
        "internal",
        "The service failed on this request; nothing was decided",
        f"request {request_id}",
        "Look the request id up in the service's log and report it.",
    )


def of_status(status: int, method: str, path: str, headers: dict[str, str] | None = None) -> Problem:
    """The problem for an error that the framework raised: no route, wrong method and the like."""
    where = echo(f"{method} {path}")
    if status == 404:
        return Problem(404, "not-found", "There is nothing at this path", where, "See /docs for the paths.", headers)
    if status == 405:
        allowed = {name.lower(): value for name, value in (headers or {}).items()}.get("allow", "another method")
        what = "This path does not take this method"
        return Problem(405, "method-not-allowed", what, where, f"Use {allowed}.", headers)
    return Problem(status, "refused", HTTPStatus(status).phrase, where, "See /docs for what is accepted.", headers)


def echo(text: str) -> str:
    """The caller's text, cut so that an error stays small."""
    return text if len(text) <= LONGEST_ECHO else text[:LONGEST_ECHO] + "..."
