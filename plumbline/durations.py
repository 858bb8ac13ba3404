"""Durations: how they are written, named and rounded. Everything is whole microseconds."""

import re
from datetime import timedelta

MICROSECOND = 1
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
LONGEST = 36_525 * DAY
"""100 years: windows and allowed lateness are at most this long, so that no instant less one of them leaves int64."""

_UNITS = {"us": 1, "ms": 1_000, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_NAMING_UNITS = ("d", "h", "m", "s", "ms", "us")
_TEXT = re.compile(r"([0-9]+)(us|ms|s|m|h|d|w)")


def microseconds(duration: str | timedelta) -> int:
    """Length of a duration in microseconds; text is a whole number and a unit: us, ms, s, m, h, d or w.

    Raises ValueError for any other text.

    >>> microseconds("10m"), microseconds(timedelta(hours=1))
    (600000000, 3600000000)
    """
    if isinstance(duration, timedelta):
        return duration // timedelta(microseconds=1)
    match = _TEXT.fullmatch(duration) if isinstance(duration, str) else None
    if match is None:
        raise ValueError(f"{duration!r} is not a duration; write a whole number and one of us, ms, s, m, h, d, w: '10m'.")
    return int(match[1]) * _UNITS[match[2]]


def duration_name(duration: str | timedelta) -> str:
    """How a duration stands in a feature's name: text as written, a timedelta by its largest dividing unit.

    >>> duration_name("60m"), duration_name(timedelta(minutes=60)), duration_name(timedelta(days=7))
    ('60m', '1h', '7d')
    """
    if isinstance(duration, str):
        return duration
    length = microseconds(duration)
    unit = next(unit for unit in _NAMING_UNITS if length % _UNITS[unit] == 0)
    return f"{length // _UNITS[unit]}{unit}"


def default_slide_us(window_us: int) -> int:
    """The resolution of a window's tail when none was declared (design section 2).

    >>> [default_slide_us(w) for w in (HOUR, 2 * DAY, 30 * DAY, 31 * DAY)] == [1, 5 * MINUTE, HOUR, DAY]
    True
    """
    if window_us <= HOUR:
        return MICROSECOND
    if window_us <= 2 * DAY:
        return 5 * MINUTE
    return HOUR if window_us <= 30 * DAY else DAY


def slide_is_allowed(slide_us: int, window_us: int) -> bool:
    """A tail resolution must be positive, at most the window, and divide one day or be a multiple of one day."""
    return 0 < slide_us <= window_us and (DAY % slide_us == 0 or slide_us % DAY == 0)


def window_start(at_us: int, window_us: int, slide_us: int) -> int:
    """First microsecond of the window that ends (open) at `at_us`: floor(at - window) to a multiple of the slide.

    Python's floor division rounds towards minus infinity, so instants before 1970 are floored too.
    """
    return (at_us - window_us) // slide_us * slide_us
