"""One cell at a time: functions that take a record's values and give one column of the log."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from feature_repo.event_schema import EVENT_TYPES
from pipelines.ingest.amounts import ABSURD_MAGNITUDE, amount_cents, plain_decimal, scaled
from pipelines.ingest.instants import CALENDAR_US, ParquetTime, in_calendar, instant_us, iso_text
from pipelines.ingest.refusals import RowRefused
from pipelines.ingest.rules import Rule

Reader = Callable[[Sequence[Any]], Any]
"""Takes a record's values, gives one value or None; raises RowRefused where the value cannot be taken."""


@dataclass(frozen=True)
class Named:
    """A reader of one output column; RowRefused from it gets the column's name in front."""

    name: str
    read: Reader

    def __call__(self, values: Sequence[Any]) -> Any:
        try:
            return self.read(values)
        except RowRefused as error:
            raise RowRefused(f"{self.name} {error}") from None


def text_of(value: Any) -> str:
    """A value as an id: text as written, 596.0 as 596, 1e-7 as 0.0000001, true and false, times in RFC 3339."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return format(Decimal(repr(value + 0.0)), "f").removesuffix(".0") if math.isfinite(value) else repr(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, ParquetTime):
        return iso_text(value.us) if value.us in CALENDAR_US else str(value.us)
    return str(value)


def _source_reader(rule: Rule, place: dict[str, int]) -> Reader:
    """The raw value, through `values` where the rule has them; NaN is null in text columns as everywhere."""
    if not rule.columns:
        return lambda values: rule.constant
    first, *others = (place[name] for name in rule.columns)
    if not others:
        raw: Reader = lambda values: values[first]  # noqa: E731
    else:
        places = (first, *others)
        raw = lambda values: next((found for at in places if (found := values[at]) is not None and found == found), None)  # noqa: E731
    return raw if rule.values is None else _looked_up(raw, rule.values)


def _looked_up(raw: Reader, known: dict[str, str]) -> Reader:
    def read(values: Sequence[Any]) -> str | None:
        value = raw(values)
        if value is None or value != value:
            return None
        text = text_of(value)
        if text not in known:
            raise RowRefused("has a value that is missing from its `values`")
        return known[text] or None

    return read


def text_reader(rule: Rule, place: dict[str, int]) -> Reader:
    source = _source_reader(rule, place)

    def read(values: Sequence[Any]) -> str | None:
        value = source(values)
        return value if value is None or type(value) is str else None if value != value else text_of(value)

    return read


def event_type_reader(rule: Rule, place: dict[str, int]) -> Reader:
    source = text_reader(rule, place)

    def read(values: Sequence[Any]) -> str | None:
        kind = source(values)
        if kind is not None and kind not in EVENT_TYPES:
            raise RowRefused(f"is none of {', '.join(EVENT_TYPES)}")
        return kind

    return read


def amount_reader(rule: Rule, place: dict[str, int]) -> Reader:
    source, scale = _source_reader(rule, place), rule.scale or Decimal(1)
    return lambda values: None if (value := source(values)) is None else amount_cents(value, scale)


def time_reader(rule: Rule, place: dict[str, int]) -> Reader:
    source, written = _source_reader(rule, place), rule.time_rule
    return lambda values: None if (value := source(values)) is None else instant_us(value, written)


def attribute_reader(rule: Rule, place: dict[str, int], kind: str) -> Reader:
    """Text that the column's type is made of later: microseconds of a timestamp, a plain number, or the text itself."""
    if kind == "timestamp":
        time = time_reader(rule, place)
        return lambda values: None if (us := time(values)) is None else str(in_calendar(us))
    if rule.scale is None:
        return text_reader(rule, place)
    source, scale = _source_reader(rule, place), rule.scale

    def read(values: Sequence[Any]) -> str | None:
        value = source(values)
        if value is None or value != value:
            return None
        return in_full(scaled(plain_decimal(value), scale))

    return read


def in_full(number: Decimal) -> str:
    """A number in full, without an exponent or zeros after its last digit: 150, 0.5; RowRefused above 10^30."""
    if not number:
        return "0"
    if number.adjusted() > ABSURD_MAGNITUDE:
        raise RowRefused("is above 10^30")
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
