"""One rule of a mapping: a source column's name, or an object that says how its values are read."""

import difflib
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from pipelines.ingest.amounts import amount_cents, plain_decimal
from pipelines.ingest.instants import UNIT_US, TimeRule, instant_us
from pipelines.ingest.refusals import LoadRefused, RowRefused

RULE_KEYS = ("column", "scale", "unit", "timezone", "values", "constant")
KINDS = {"amount_cents": "amount", "event_timestamp": "time", "created_timestamp": "time"}
"""What a column of the log holds, where it is not text."""

ALLOWED = {
    "text": ("column", "values", "constant"),
    "amount": ("column", "scale", "values", "constant"),
    "time": ("column", "unit", "timezone", "values", "constant"),
    "attribute": RULE_KEYS,
}
NOT_IANA = ("localtime", "Factory", "posixrules")


@dataclass(frozen=True)
class Rule:
    """How one column is made.

    kind      text, amount, time or attribute
    columns   source columns, the first that is not empty counts; empty for a constant
    values    source value -> value, or None: every value as it is
    scale     for amounts and attributes; unit and zone for times and attributes
    """

    kind: str
    columns: tuple[str, ...] = ()
    constant: str | None = None
    values: dict[str, str] | None = None
    scale: Decimal | None = None
    unit: str | None = None
    timezone: str | None = None

    @property
    def time_rule(self) -> TimeRule:
        return TimeRule(self.unit, ZoneInfo(self.timezone or "UTC"))


def refuse_unknown_keys(given: dict[str, Any], allowed: Collection[str], where: str) -> None:
    """Raise LoadRefused for the first key of `given` that is not in `allowed`, by name."""
    for key in given:
        if key not in allowed:
            close = difflib.get_close_matches(key, allowed, 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise LoadRefused(f"{where}: unknown key {key!r}.{hint} Allowed: {', '.join(allowed)}.")


def read_rule(raw: Any, kind: str, where: str) -> Rule:
    """The rule written as `raw` for a column of `kind`; raises LoadRefused, naming the key, when it makes no sense."""
    given = {"column": raw} if isinstance(raw, str) else raw
    if not isinstance(given, dict):
        raise LoadRefused(f"{where} must be a source column's name or an object of {', '.join(RULE_KEYS)}.")
    refuse_unknown_keys(given, RULE_KEYS, where)
    for key in given:
        if key not in ALLOWED[kind]:
            raise LoadRefused(f"{where}: {key!r} has no meaning for this column. Allowed: {', '.join(ALLOWED[kind])}.")
    if "column" in given and "constant" in given:
        raise LoadRefused(f"{where}: 'column' with 'constant': a value comes from the source or is constant, not both.")
    if "scale" in given and ("unit" in given or "timezone" in given):
        raise LoadRefused(f"{where}: 'scale' makes it a number, 'unit' and 'timezone' make it a time; give one.")
    rule = Rule(
        kind=kind,
        columns=_columns(given, where),
        constant=_text(given, "constant", where),
        values=_values(given, where),
        scale=_scale(given, where),
        unit=_unit(given, where),
        timezone=_timezone(given, where),
    )
    _refuse_bad_constant(rule, where)
    return rule


def _columns(given: dict[str, Any], where: str) -> tuple[str, ...]:
    if "constant" in given:
        return ()
    named = given.get("column")
    names = named if isinstance(named, list) else [named]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise LoadRefused(f"{where} needs `column:`, a source column's name (or a list: the first that is not empty counts).")
    return tuple(names)


def _text(given: dict[str, Any], key: str, where: str) -> str | None:
    value = given.get(key)
    if value is not None and (not isinstance(value, str) or not value):
        raise LoadRefused(f"{where}: {key} must be one value.")
    return value


def _values(given: dict[str, Any], where: str) -> dict[str, str] | None:
    values = given.get("values")
    if values is None:
        return None
    if not isinstance(values, dict) or not values or not all(isinstance(value, str) for value in values.values()):
        raise LoadRefused(f"{where}: values must be an object of `source value: value` lines.")
    return values


def _scale(given: dict[str, Any], where: str) -> Decimal | None:
    text = _text(given, "scale", where)
    if text is None:
        return None
    try:
        scale = plain_decimal(text)
    except RowRefused as error:
        raise LoadRefused(f"{where}: scale {text!r} {error}.") from None
    if not 0 < scale <= 10**12:
        raise LoadRefused(f"{where}: scale {text!r} must be above 0 and at most 10^12.")
    return scale


def _unit(given: dict[str, Any], where: str) -> str | None:
    unit = _text(given, "unit", where)
    if unit is not None and unit not in UNIT_US:
        raise LoadRefused(f"{where}: unit {unit!r} is none of {', '.join(UNIT_US)}.")
    return unit


def _timezone(given: dict[str, Any], where: str) -> str | None:
    name = _text(given, "timezone", where)
    if name is not None and (name in NOT_IANA or name not in available_timezones()):
        close = difflib.get_close_matches(name, available_timezones(), 1)
        raise LoadRefused(f"{where}: timezone {name!r} is no IANA name{f' (did you mean {close[0]}?)' if close else ''}.")
    return name


def _refuse_bad_constant(rule: Rule, where: str) -> None:
    if rule.constant is None:
        return
    if rule.values is not None:
        raise LoadRefused(f"{where}: 'values' with 'constant': write the constant as it shall be.")
    try:
        if rule.kind == "amount":
            amount_cents(rule.constant, rule.scale or Decimal(1))
        if rule.kind == "time":
            instant_us(rule.constant, rule.time_rule)
    except RowRefused as error:
        raise LoadRefused(f"{where}: constant {rule.constant!r} {error}.") from None
