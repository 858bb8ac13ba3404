"""The plain rules of alerts, each a sentence over features of the moment before the event."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Event = Mapping[str, Any]
Features = Mapping[str, Any]

JUDGED_TYPES = ("payment", "withdrawal", "hold")
"""Events that move money or block it; a look at an account raises no alert."""


@dataclass(frozen=True)
class Rule:
    """One reason to look at an event.

    name      part of the alert's id: an event alerts once by each rule
    reads     features as `view:feature`
    reason    the sentence for a person, or None; given the event (the topic's columns) and features (`view__feature`)
    """

    name: str
    reads: tuple[str, ...]
    reason: Callable[[Event, Features], str | None]


def _card_testing(event: Event, features: Features) -> str | None:
    small, devices = features["user_payments__small_payment_id_count_10m"], event["device_id"]
    return f"{small} small payments in the 10 minutes before this one, device {devices}" if small >= 4 else None


def _velocity(event: Event, features: Features) -> str | None:
    payments = features["user_payments__payment_id_count_10m"]
    return f"{payments} payments in the 10 minutes before this one" if payments >= 10 else None


def _unusual_amount(event: Event, features: Features) -> str | None:
    cents, largest = event["amount_cents"], features["user_payments__payment_cents_max_30d"]
    known = features["user_payments__payment_id_count_30d"] >= 5 and largest
    if not known or cents is None or cents < 10_000 or cents < 5 * largest:
        return None
    return f"{cents} cents, where the largest payment of 30 days was {largest}"


def _shared_device(event: Event, features: Features) -> str | None:
    users = features["device_activity__user_id_count_distinct_1d"]
    return f"device {event['device_id']} was used by {users} users in a day" if users >= 4 else None


def _reported_merchant(event: Event, features: Features) -> str | None:
    frauds = features["merchant_chargebacks__fraud_id_count_7d"]
    return f"{frauds} frauds were reported on merchant {event['merchant_id']} in 7 days" if frauds >= 5 else None


RULES = (
    Rule("card_testing", ("user_payments:small_payment_id_count_10m",), _card_testing),
    Rule("velocity", ("user_payments:payment_id_count_10m",), _velocity),
    Rule(
        "unusual_amount",
        ("user_payments:payment_cents_max_30d", "user_payments:payment_id_count_30d"),
        _unusual_amount,
    ),
    Rule("shared_device", ("device_activity:user_id_count_distinct_1d",), _shared_device),
    Rule("reported_merchant", ("merchant_chargebacks:fraud_id_count_7d",), _reported_merchant),
)
