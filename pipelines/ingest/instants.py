"""Times as sources write them, to microseconds since the Unix epoch, UTC; what is ambiguous is refused."""

import functools
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any
from zoneinfo import ZoneInfo

from pipelines.ingest.amounts import PLAIN_DECIMAL, scaled
from pipelines.ingest.refusals import RowRefused

DAY_US = 86_400_000_000
UNIT_US = {"s": 1_000_000, "ms": 1_000, "us": 1}
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - local wall-clock arithmetic, the zone is applied afterwards
MICROSECOND = timedelta(microseconds=1)
ABSURD_US = 10**18
"""Past the year 33000: larger numbers count as this one, so that nothing is computed with them."""

CALENDAR_US = range(-62_135_596_800_000_000, 253_402_300_800_000_000)
"""Years 1 to 9999: what readers of the log can write down."""

ISO_8601 = re.compile(
    r"""(?P<date>\d{4}-\d{2}-\d{2}|\d{8}(?=[Tt])|\d{4}-W\d{2}-\d|\d{4}-\d{3})
        (?:[Tt ](?P<hour>\d{2})
           (?:(?P<colon>:?)(?P<minute>\d{2})(?:(?P=colon)(?P<second>\d{2})(?:[.,](?P<fraction>\d+))?)?)?
           (?P<offset>[ ]?(?:UTC|[Zz])|[ ]?[+-]\d{2}(?::?\d{2})?)?)?""",
    re.VERBOSE | re.ASCII,
)
"""Calendar, week (2026-W01-5) and ordinal (2026-002) dates, a time and an offset optional; `UTC` after it reads as Z."""


@dataclass(frozen=True)
class ParquetTime:
    """A Parquet timestamp or date: microseconds since the epoch, of the wall clock where `is_local`, else of UTC."""

    us: int
    is_local: bool


@dataclass(frozen=True)
class TimeRule:
    """How a source writes its times: `unit` of numbers (s, ms, us or None), `zone` of times without an offset."""

    unit: str | None
    zone: ZoneInfo


def instant_us(value: Any, rule: TimeRule) -> int:
    """Microseconds since the epoch, UTC, of one non-null value; finer digits are cut.

    value: ISO 8601 text, a number (int, float, Decimal or its text) in `rule.unit`, or a ParquetTime.
    Raises RowRefused for anything else, a number without a unit, and a local time that happened twice or never.

    >>> instant_us("2019-10-01 00:00:00 UTC", TimeRule(None, ZoneInfo("Europe/Berlin")))
    1569888000000000
    """
    if isinstance(value, ParquetTime):
        return _local_us(EPOCH + value.us * MICROSECOND, rule.zone) if _in_reach(value) else value.us
    if isinstance(value, bool) or value is None:
        raise RowRefused("is not a time")
    if isinstance(value, str):
        if rule.unit and PLAIN_DECIMAL.fullmatch(value):
            return _number_us(Decimal(value), rule.unit)
        return _iso_us(value, rule)
    if rule.unit is None:
        raise RowRefused("is a number without a unit (s, ms or us in the mapping)")
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    return _number_us(number, rule.unit)


def checked_instant(us: int, now_us: int) -> int:
    """`us` itself; RowRefused before 1970 and more than a day after `now_us`."""
    if us < 0:
        raise RowRefused("is before 1970")
    if us > now_us + DAY_US:
        raise RowRefused("is more than a day ahead")
    return us


def in_calendar(us: int) -> int:
    """`us` itself; RowRefused outside the years 1 to 9999. For times that may lie long ago or ahead: a birth, an expiry."""
    if us not in CALENDAR_US:
        raise RowRefused("is not a time (outside the years 1 to 9999)")
    return us


def _in_reach(value: ParquetTime) -> bool:
    """Local and on the calendar; whatever is farther away is refused in any zone."""
    return value.is_local and value.us in CALENDAR_US


def _number_us(number: Decimal, unit: str) -> int:
    if not number.is_finite():
        raise RowRefused("is not a time")
    if number and number.adjusted() > 20:
        return ABSURD_US if number > 0 else -ABSURD_US
    return int(scaled(number, Decimal(UNIT_US[unit])).to_integral_value(ROUND_FLOOR))


def _iso_us(text: str, rule: TimeRule) -> int:
    match = ISO_8601.fullmatch(text)
    if match is None:
        raise RowRefused("is not a time (ISO 8601, or a number with a unit in the mapping)")
    date, hour, _, minute, second, fraction, offset = match.groups()
    clock_us = (int(hour or 0) * 3_600 + int(minute or 0) * 60 + int(second or 0)) * 1_000_000
    if fraction:
        clock_us += int(fraction[:6].ljust(6, "0"))
    if clock_us >= DAY_US or (minute or "") > "59" or (second or "") > "59":
        raise RowRefused("is not a time (no such hour)")
    local_us = _day_us(date) + clock_us
    return local_us - _offset_us(offset) if offset else _local_us(EPOCH + local_us * MICROSECOND, rule.zone)


@functools.lru_cache(maxsize=4096)
def _day_us(date: str) -> int:
    try:
        return (_day(date) - EPOCH) // MICROSECOND
    except ValueError:
        raise RowRefused("is not a time (no such date)") from None


def _day(date: str) -> datetime:
    """Midnight of the wall clock; ValueError where there is no such day."""
    year, digits = int(date[:4]), date.replace("-", "")
    if "W" in date:
        return datetime.fromisocalendar(year, int(digits[5:7]), int(digits[7]))
    if len(digits) == 8:
        return datetime(year, int(digits[4:6]), int(digits[6:]))  # noqa: DTZ001 - local wall clock
    day = datetime(year, 1, 1) + timedelta(days=int(digits[4:]) - 1)  # noqa: DTZ001 - local wall clock
    if day.year != year:
        raise ValueError(date)
    return day


@functools.lru_cache(maxsize=1024)
def _offset_us(offset: str) -> int:
    offset = offset.strip()
    if offset in ("Z", "z", "UTC"):
        return 0
    digits = offset[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 23 or minutes > 59:
        raise RowRefused("is not a time (no such UTC offset)")
    return (1 if offset[0] == "+" else -1) * (hours * 60 + minutes) * 60_000_000


def _local_us(local: datetime, zone: ZoneInfo) -> int:
    r"""The instant of a wall-clock time; refused where clocks were moved over it.

    forward:  01:59 -> 03:00   02:30 never happened;   back:  02:59 -> 02:00   02:30 happened twice
    """
    if zone.key == "UTC":
        return (local - EPOCH) // MICROSECOND
    try:
        before, after = (local.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    except OverflowError:
        raise RowRefused("is not a time (no such date or hour)") from None
    if before is None or after is None:
        raise RowRefused("is not a time (its time zone has no offset then)")
    if before != after:
        raise RowRefused("happened twice in its time zone" if before > after else "never happened in its time zone")
    return (local - EPOCH - before) // MICROSECOND


def iso_text(us: int) -> str:
    """RFC 3339 text of microseconds since the epoch: `2019-10-01T00:00:00.000000Z`."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + us * MICROSECOND).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
