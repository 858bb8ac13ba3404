"""Reading a request body: JSON only, one megabyte at most, and every refusal in words."""

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from serving.problems import Problem, echo, unprocessable

LARGEST_BODY_BYTES = 1_000_000

Body = TypeVar("Body", bound=BaseModel)


async def read_body(request: Request, model: type[Body]) -> Body:
    """The request's body as `model`.

    Raises Problem: 415 where it is not declared as plain JSON, 413 beyond one megabyte (10^6 bytes), 422 for anything
    that does not fit the model, and for a field that stands twice: whoever looked at the request before may have taken
    the other value.
    """
    _check_media_type(request)
    data = await _read_limited(request)
    try:
        body = model.model_validate_json(data)
    except ValidationError as error:
        raise _invalid(error) from None
    _PLAIN.decode(data.decode())  # what fits the model is UTF-8, and nowhere deep
    return body


def _without_repetition(pairs: list[tuple[str, Any]]) -> None:
    seen = {name for name, _ in pairs}
    if len(seen) < len(pairs):
        names = [name for name, _ in pairs]
        where = next(name for name in seen if names.count(name) > 1)
        raise unprocessable("invalid-request", "A field stands twice in one object", where, "Send each field once.")


_PLAIN = json.JSONDecoder(object_pairs_hook=_without_repetition)


def _check_media_type(request: Request) -> None:
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if media_type == "application/json" and encoding == "identity":
        return
    what = f"The body is {media_type or 'of no declared type'}, encoding {encoding}"
    raise Problem(415, "unsupported-media-type", echo(what), "header Content-Type", "Send JSON as application/json.")


async def _read_limited(request: Request) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > LARGEST_BODY_BYTES:
        raise _too_large()
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > LARGEST_BODY_BYTES:
            raise _too_large()
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large() -> Problem:
    what = f"The body is larger than {LARGEST_BODY_BYTES:,} bytes"
    return Problem(413, "too-large", what, "body", "Send fewer requests at once.")


def _invalid(error: ValidationError) -> Problem:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "body"
    message = first["msg"].removeprefix("Value error, ")
    more = error.error_count() - 1
    what = message + (f", and {more} more" if more else "")
    return unprocessable("invalid-request", echo(what), echo(where), "See /docs for the fields and their limits.")
