"""Live events of existing users as their profile has them, with bursts of fraud in between, and the labels of both."""

import heapq
import itertools
import math
import random
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

FRAUD_SHARE = 0.02
"""Share of live events that belong to a burst; the histories' own share would show no burst in a short run."""
LABELLED = ("payment", "withdrawal")
OWN_MERCHANT_SHARE = 0.9

Event = dict[str, Any]


class Traffic:
    """Draws events for `seconds` seconds from a profile (see live_profile).

    Bursts are squeezed into the run. Labels follow payments after `label_delay_s` seconds: is_fraud 1 for a burst's.
    """

    def __init__(self, profile: Mapping[str, Any], seconds: float, label_delay_s: float, seed: int | None = None) -> None:
        self._profile, self._seconds, self._label_delay_s = profile, seconds, label_delay_s
        self._random = random.Random(seed)
        self._users = list(profile["users"])
        self._user_weights = list(itertools.accumulate(user["weight"] for user in self._users))
        self._merchants = list(profile["merchants"])
        self._merchant_weights = list(itertools.accumulate(m["weight"] for m in profile["merchants"].values()))
        self._bursts: list[tuple[float, str, Event]] = []
        self._labels: list[tuple[float, str, Event]] = []
        self.bursts: Counter[str] = Counter()

    def event(self, now_s: float) -> Event:
        """The next event at `now_s` (epoch seconds): of a burst that is due, else a user's own. Schedules its label."""
        if self._bursts and self._bursts[0][0] <= now_s:
            event, is_fraud = heapq.heappop(self._bursts)[2], True
        else:
            if self._random.random() < self._burst_chance():
                self._begin_burst(now_s)
            event, is_fraud = self._ordinary(), False
        event |= {"event_id": f"live-{uuid.uuid4().hex}", "event_timestamp": _at(now_s)}
        if event["event_type"] in LABELLED:
            heapq.heappush(self._labels, (now_s + self._label_delay_s, event["event_id"], label_of(event, is_fraud)))
        return event

    def labels(self, now_s: float) -> Iterator[Event]:
        """The labels that are due at `now_s`; math.inf gives all that are left."""
        while self._labels and self._labels[0][0] <= now_s:
            yield heapq.heappop(self._labels)[2]

    def _ordinary(self) -> Event:
        user = self._random.choices(self._users, cum_weights=self._user_weights)[0]
        event_type = self._weighted(self._profile["event_mix"])
        merchant_id = self._merchant(user["merchants"])
        cents = None if event_type == "view" else self._cents(merchant_id, user["amount_factor"])
        return self._described(user, merchant_id, self._one_of(user["devices"]), event_type, cents)

    def _begin_burst(self, now_s: float) -> None:
        name = self._random.choice(list(self._profile["scenarios"]))
        rule, user = self._profile["scenarios"][name], self._random.choice(self._users)
        within_s = min(self._random.uniform(*rule["within_seconds"]), self._seconds / 3)
        device = f"x-{uuid.uuid4().hex[:12]}"
        for cents, merchant_id in self._burst_payments(rule, user):
            event = self._described(user, merchant_id, device, "payment", cents)
            heapq.heappush(self._bursts, (now_s + self._random.uniform(0, within_s), uuid.uuid4().hex, event))
        self.bursts[name] += 1

    def _burst_payments(self, rule: Mapping[str, Any], user: Mapping[str, Any]) -> Iterator[tuple[int, str | None]]:
        """Amounts and merchants: small ones to test the card and then large ones, or a run of large ones."""
        is_testing = "amount_cents" in rule
        for _ in range(self._random.randint(*rule["payments"])):
            merchant_id = self._merchant([])
            factor = user["amount_factor"] * self._random.uniform(*rule.get("amount_factor", (1, 1)))
            small = self._random.randint(*rule["amount_cents"]) if is_testing else None
            yield small or self._cents(merchant_id, factor), merchant_id
        for _ in range(self._random.randint(*rule.get("then_payments", (0, 0)))):
            merchant_id = self._merchant([])
            factor = user["amount_factor"] * self._random.uniform(*rule["then_amount_factor"])
            yield self._cents(merchant_id, factor), merchant_id

    def _described(
        self, user: Event, merchant_id: str | None, device_id: str | None, event_type: str | None, cents: int | None
    ) -> Event:
        merchant = self._profile["merchants"].get(merchant_id, {})
        return {
            "user_id": user["user_id"],
            "merchant_id": merchant_id,
            "device_id": device_id,
            "event_type": event_type,
            "category": merchant.get("category"),
            "channel": merchant.get("channel") or self._weighted(self._profile["channels"]),
            "country": merchant.get("country") or user["country"],
            "amount_cents": cents,
        }

    def _merchant(self, favourites: Sequence[str]) -> str | None:
        if favourites and self._random.random() < OWN_MERCHANT_SHARE:
            return self._random.choices(favourites, [1 / rank for rank in range(1, len(favourites) + 1)])[0]
        if not self._merchants:
            return None
        return self._random.choices(self._merchants, cum_weights=self._merchant_weights)[0]

    def _cents(self, merchant_id: str | None, factor: float) -> int:
        categories = self._profile["categories"]
        category = self._profile["merchants"].get(merchant_id, {}).get("category") or ""
        shape = categories.get(category, categories[""])
        return max(1, round(math.exp(self._random.gauss(shape["log_cents_mean"], shape["log_cents_std"])) * factor))

    def _weighted(self, shares: Mapping[str, float]) -> str | None:
        return self._random.choices(list(shares), list(shares.values()))[0] if shares else None

    def _one_of(self, values: Sequence[str]) -> str | None:
        return self._random.choice(values) if values else None

    def _burst_chance(self) -> float:
        """Chance that a burst begins with an event, so that FRAUD_SHARE of all events are of bursts."""
        lengths = [sum(rule["payments"]) / 2 for rule in self._profile["scenarios"].values()]
        return FRAUD_SHARE / (sum(lengths) / len(lengths)) if lengths else 0.0


def label_of(event: Event, is_fraud: bool) -> Event:
    """The first label of a transaction: it carries the transaction's own id, keys, time and amount."""
    kept = ("event_id", "user_id", "merchant_id", "device_id", "event_timestamp", "amount_cents")
    fraud_cents = event["amount_cents"] if is_fraud else None
    return {
        **{name: event[name] for name in kept},
        "transaction_event_id": event["event_id"],
        "is_fraud": int(is_fraud),
        "fraud_amount_cents": fraud_cents,
    }


def _at(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="microseconds")
