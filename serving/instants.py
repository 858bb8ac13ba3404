"""Instants as they are written in requests and answers: RFC 3339 with an offset, microseconds, UTC inside."""

from datetime import UTC, datetime

from feature_repo.rfc_3339 import RFC_3339

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_instant(text: object) -> datetime:
    """Read an RFC 3339 instant; the result is in UTC, digits beyond microseconds are cut.

    Raises ValueError, in words for the caller, without an offset or for anything that is no instant.

    >>> parse_instant("2026-11-20T13:00:00.5+01:00").isoformat()
    '2026-11-20T12:00:00.500000+00:00'
    """
    match = RFC_3339.fullmatch(text) if isinstance(text, str) and len(text) <= 64 else None
    if match is None:
        raise ValueError("not an RFC 3339 instant with a UTC offset, such as 2026-11-20T12:00:00Z or ...+01:00")
    day, time, fraction, offset = match.groups()
    digits = (fraction or "")[:6].ljust(6, "0")
    try:
        return datetime.fromisoformat(f"{day}T{time}.{digits}{offset.upper()}").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"not an instant that exists ({error})") from None


def format_instant(at: datetime) -> str:
    """An aware instant in UTC to the microsecond: 2026-11-20T12:00:00.000000Z."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def epoch_us(at: datetime) -> int:
    """Whole microseconds since 1970-01-01T00:00:00Z."""
    delta = at - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
