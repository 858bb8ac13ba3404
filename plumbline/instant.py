"""The instant of an online read: now, unless `as_of` says otherwise."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_as_of_us: ContextVar[int | None] = ContextVar("plumbline_as_of_us", default=None)


class AsOfTooOld(ValueError):
    """The instant lies before what the online state can answer exactly; training data has older values."""


@contextmanager
def as_of(at: datetime) -> Iterator[None]:
    """Online reads inside the block are as of `at` (to the microsecond), which must carry a UTC offset.

    Raises ValueError for a naive datetime. A read raises AsOfTooOld when the state does not reach back to `at`.
    """
    token = _as_of_us.set(to_microseconds(at))
    try:
        yield
    finally:
        _as_of_us.reset(token)


def read_instant_us() -> int:
    """The instant of a read that starts now, in microseconds since the epoch, UTC."""
    chosen = _as_of_us.get()
    return time.time_ns() // 1_000 if chosen is None else chosen


def to_microseconds(at: datetime) -> int:
    """Microseconds since the epoch of an instant; raises ValueError for anything but a datetime with a UTC offset.

    >>> to_microseconds(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    if not isinstance(at, datetime) or at.utcoffset() is None:
        raise ValueError(f"{at!r} has no UTC offset; as_of needs a datetime with one, for example datetime.now(timezone.utc).")
    return (at - _EPOCH) // timedelta(microseconds=1)


def from_microseconds(at_us: int) -> datetime:
    """The UTC instant of microseconds since the epoch; one outside the years of datetime is the first or last of them."""
    return _EPOCH + timedelta(microseconds=min(max(at_us, FIRST_US), LAST_US))


FIRST_US, LAST_US = to_microseconds(datetime.min.replace(tzinfo=UTC)), to_microseconds(datetime.max.replace(tzinfo=UTC))
"""The years 1 to 9999."""
