"""The parameters of a path and query: the user's id and the instant asked for."""

from datetime import datetime
from typing import Annotated
from urllib.parse import unquote_to_bytes

from fastapi import Query, Request
from pydantic import TypeAdapter, ValidationError
from starlette.convertors import StringConvertor, register_url_convertor

from serving.instants import parse_instant
from serving.messages import Id
from serving.problems import echo, unprocessable

_USER_ID = TypeAdapter(Id)
_OFFSET_AFTER_SPACE = 6

AsOfParameter = Annotated[
    str | None, Query(alias="as_of", description="RFC 3339 with a UTC offset, to the microsecond; left out: now")
]


class _AnyText(StringConvertor):
    """Ids may hold slashes, and newlines must reach the check that refuses them."""

    regex = r"(?s:.*)"


register_url_convertor("any_text", _AnyText())


def user_id_of(request: Request, decoded: str) -> str:
    """The user id of the path; bytes that are no UTF-8 are refused instead of read as replacement characters."""
    try:
        unquote_to_bytes(request.scope.get("raw_path") or b"").decode("utf-8")
        return _USER_ID.validate_python(decoded, strict=True)
    except (UnicodeDecodeError, ValidationError):
        what = "The user id must have 1 to 256 characters, none of them a control character"
        remedy = "Check the id, and encode it as UTF-8 in the path."
        raise unprocessable("invalid-request", what, "user_id", remedy) from None


def no_query(request: Request) -> None:
    """Raise the 422 Problem for any query parameter, where none is known."""
    unknown = next(iter(request.query_params), None)
    if unknown is not None:
        what = f"Query parameter {unknown} is not known"
        raise unprocessable("invalid-request", echo(what), "query", "Leave it out.")


def instant_asked(request: Request) -> datetime | None:
    """The instant asked for, None for now. A + of the offset that arrived as a space is understood."""
    given = request.query_params.multi_items()
    unknown = [name for name, _ in given if name != "as_of"]
    if unknown or len(given) > 1:
        what = f"Query parameter {unknown[0]} is not known" if unknown else "as_of is given more than once"
        raise unprocessable("invalid-request", echo(what), "query", "The only parameter is as_of, once.")
    if not given:
        return None
    text = given[0][1]
    if text[-_OFFSET_AFTER_SPACE:][:1] == " ":
        text = f"{text[:-_OFFSET_AFTER_SPACE]}+{text[1 - _OFFSET_AFTER_SPACE :]}"
    try:
        return parse_instant(text)
    except ValueError as error:
        remedy = "Encode a + of the offset as %2B."
        raise unprocessable("invalid-request", f"as_of is {error}", "as_of", remedy) from None
