"""Why a record was refused, in words for a person who sees only its dead letter."""

import json
import re

import msgspec

from feature_repo.event_schema import EVENT_TYPES

EXCERPT = 24
EXAMPLE_TIME = "2026-01-31T12:00:00.5+02:00"
_BYTE = re.compile(r"\(byte (\d+)\)$")


class Refusal(ValueError):
    """A record that is not an event; the message is the reason."""


def reason_for(value: bytes | None, error: Exception) -> str:
    """One sentence for a value that could not be decoded.

    value  the record's bytes; None for a tombstone
    error  what msgspec or the UTF-8 decoder said about it
    """
    if value is None:
        return "the record is a tombstone: it has a key and no value"
    if not value:
        return "the record is empty: its value has no bytes"
    if isinstance(error, UnicodeDecodeError):
        return f"the value is not UTF-8: byte {error.start} is 0x{value[error.start]:02x}"
    if isinstance(error, msgspec.ValidationError):
        return _about_field(str(error))
    return _about_json(value.decode(), str(error))


def _about_field(said: str) -> str:
    what, _, where = said.partition(" - at `$")
    field = where.strip(".`")
    if what.startswith("Expected `object`"):
        return f"the value is JSON but not an object: {what}"
    if field == "event_type":
        what = f"{what}; use one of {', '.join(EVENT_TYPES)}"
    if field == "event_timestamp":
        what = f"{what}; give RFC 3339 text with a UTC offset, like {EXAMPLE_TIME}"
    return f"{field}: {what}" if field else what


def _about_json(text: str, said: str) -> str:
    if "truncated" in said and not _is_complete(text):
        return f"the value is cut off: it ends after {text[-EXCERPT:]!r}"
    at = _BYTE.search(said)
    near = f" near {text.encode()[int(at[1]) :][:EXCERPT].decode(errors='replace')!r}" if at else ""
    if "truncated" in said:
        return "the value has an escape like \\ud800 that stands for no character"
    return f"the value is not JSON: {said}{near}"


def _is_complete(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
