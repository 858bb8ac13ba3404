"""Money and other numbers by decimal arithmetic: what was written, not what a binary float makes of it."""

import math
import re
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from feature_repo.event_schema import MAX_AMOUNT_CENTS
from pipelines.ingest.refusals import RowRefused

PLAIN_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)", re.ASCII)
"""Digits with at most one point: no thousands, no decimal comma, no currency sign, no exponent, no blanks."""

ABSURD_MAGNITUDE = 30


def plain_decimal(value: Any) -> Decimal:
    """The exact decimal of a number or its text; a float is the shortest decimal that names it.

    Raises RowRefused when it is not finite or not a plain decimal.
    """
    if isinstance(value, str):
        if PLAIN_DECIMAL.fullmatch(value):
            return Decimal(value)
        is_special = value.lower().lstrip("+-") in ("nan", "inf", "infinity")
        raise RowRefused("is not finite" if is_special else "is not a plain decimal number")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise RowRefused("is not finite")
        return Decimal(repr(value))
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise RowRefused("is not a plain decimal number")
    if not Decimal(value).is_finite():
        raise RowRefused("is not finite")
    return Decimal(value)


def amount_cents(value: Any, scale: Decimal) -> int:
    """value x scale to the nearest integer, halves away from zero; 0 <= result <= 10^15.

    Raises RowRefused when value is not a plain decimal, negative, or too large.

    >>> amount_cents("164.95000000000002", Decimal(100)), amount_cents(164.95000000000002, Decimal(100))
    (16495, 16495)
    """
    number = plain_decimal(value)
    if number < 0:
        raise RowRefused("is negative")
    if number and number.adjusted() + scale.adjusted() > ABSURD_MAGNITUDE:
        raise RowRefused("is above 10^15")
    cents = scaled(number, scale).to_integral_value(ROUND_HALF_UP)
    if cents > MAX_AMOUNT_CENTS:
        raise RowRefused("is above 10^15")
    return int(cents)


def scaled(number: Decimal, scale: Decimal) -> Decimal:
    """number x scale with every digit kept."""
    digits = len(number.as_tuple().digits) + len(scale.as_tuple().digits)
    return Context(prec=digits + 1).multiply(number, scale)
