"""What is sent during the chaos: a seeded mix of good, repeated, reordered, late, early and poisonous records."""

import random
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple

import msgspec

from streaming.event_topics import LABELS, TRANSACTIONS

DAY_S = 86_400.0
EVENTS_A_USER = 100
MERCHANTS, FAVOURITES = 300, 5
HOT_SHARE = 0.1
"""Of the traffic that goes to one merchant."""
REMEMBERED = 5_000
"""Sent records that may be sent again."""

REPEATED, REWRITTEN, POISON, LATE, EARLY, TOO_EARLY, OUT_OF_ORDER = 0.03, 0.003, 0.005, 0.01, 0.01, 0.002, 0.25
"""Shares: the same bytes again; the same id with another amount; no event at all; dated around or before the allowed
lateness; dated a little ahead; further ahead than is taken; up to 20 hours old."""
LABELLED, FRAUD = 0.08, 0.3
ZONES = (UTC, timezone(timedelta(hours=2)), timezone(-timedelta(hours=9, minutes=30)))

BAD = (
    b"",
    b"{",
    b"not json",
    b"[1, 2]",
    b'"text"',
    b"\xff\xfe\x00",
    b'{"event_id": "x"}',
    b'{"event_id": 7, "user_id": "u1", "event_timestamp": "2026-01-01T00:00:00Z"}',
    b'{"event_id": "x", "user_id": "", "event_timestamp": "2026-01-01T00:00:00Z"}',
    b'{"event_id": "x", "user_id": "u1", "event_timestamp": "2026-01-01T00:00:00"}',
    b'{"event_id": "x", "user_id": "u1", "event_timestamp": "9999-01-01T00:00:00Z"}',
    b'{"event_id": "x", "user_id": "u1", "event_timestamp": "2026-01-01T00:00:00Z", "amount_cents": -1}',
    b'{"event_id": "x", "user_id": "u1", "event_timestamp": "2026-01-01T00:00:00Z", "amount_cents": 9223372036854775808}',
    b'{"event_id": "x", "user_id": "u1", "event_timestamp": "2026-01-01T00:00:00Z", "amount_cents": NaN}',
    None,
)


class Message(NamedTuple):
    """A record to be sent; poison is one that is no event, whatever the clock says."""

    topic: str
    key: bytes
    value: bytes | None
    poison: bool


class Traffic:
    """Draws records; the same seed draws the same users, merchants, amounts and kinds."""

    def __init__(self, seed: int, events: int) -> None:
        self._random = random.Random(seed)
        self._users = max(20, events // EVENTS_A_USER)
        self._recent: deque[Message] = deque(maxlen=REMEMBERED)
        self._number = 0

    def draw(self, now_s: float) -> Iterator[Message]:
        """One record to send at `now_s` (epoch seconds), and sometimes its label."""
        chance = self._random.random()
        if chance < POISON:
            yield Message(self._topic(), self._user().encode(), self._random.choice(BAD), poison=True)
        elif chance < POISON + REPEATED and self._recent:
            yield self._random.choice(self._recent)
        elif chance < POISON + REPEATED + REWRITTEN and self._recent:
            yield self._rewritten(self._random.choice(self._recent))
        else:
            yield from self._new(now_s)

    def _new(self, now_s: float) -> Iterator[Message]:
        event = self._event(now_s)
        yield self._remembered(TRANSACTIONS.name, event)
        if self._random.random() < LABELLED:
            yield self._remembered(LABELS.name, self._label_of(event))

    def _event(self, now_s: float) -> dict[str, Any]:
        self._number += 1
        user = self._user()
        number = int(user[1:])
        own = self._random.choice([number * 7 + i for i in range(FAVOURITES)]) % MERCHANTS
        merchant = f"m{0 if self._random.random() < HOT_SHARE else own}"
        return {
            "event_id": f"e{self._number}",
            "user_id": user,
            "event_timestamp": self._time(now_s),
            "merchant_id": merchant if self._random.random() > 0.05 else None,
            "device_id": f"d{number % 1000}-{self._random.randrange(2)}" if self._random.random() > 0.05 else None,
            "event_type": self._random.choices(["payment", "view", "hold", "withdrawal"], [6, 2, 1, 1])[0],
            "category": self._random.choice(["food", "travel", None]),
            "channel": self._random.choice(["app", "web", "pos", None]),
            "country": self._random.choice(["NO", "SE", "DE", "FR"]),
            "amount_cents": self._random.choice([None, self._random.randrange(1, 900), self._random.randrange(10**7)]),
        }

    def _label_of(self, event: dict[str, Any]) -> dict[str, Any]:
        is_fraud = int(self._random.random() < FRAUD)
        kept = ("event_id", "user_id", "merchant_id", "device_id", "event_timestamp", "amount_cents")
        fraud_cents = event["amount_cents"] if is_fraud else None
        return {**{name: event[name] for name in kept}, "is_fraud": is_fraud, "fraud_amount_cents": fraud_cents}

    def _rewritten(self, message: Message) -> Message:
        event = msgspec.json.decode(message.value or b"{}") | {"amount_cents": self._random.randrange(10**6)}
        return message._replace(value=msgspec.json.encode(event))

    def _remembered(self, topic: str, event: dict[str, Any]) -> Message:
        message = Message(topic, event["user_id"].encode(), msgspec.json.encode(event), poison=False)
        self._recent.append(message)
        return message

    def _time(self, now_s: float) -> str:
        chance, draw = self._random.random(), self._random.random()
        if chance < LATE:
            age_s = DAY_S + self._random.choice([draw - 0.5, 600 * (draw - 0.5), 30 * DAY_S * draw])
        elif chance < LATE + EARLY:
            age_s = -240 * draw
        elif chance < LATE + EARLY + TOO_EARLY:
            age_s = -330 - 86_400 * draw
        elif chance < LATE + EARLY + TOO_EARLY + OUT_OF_ORDER:
            age_s = 20 * 3600 * draw**3
        else:
            age_s = draw / 10
        zone = self._random.choice(ZONES)
        # whole seconds now and then: events of one instant must not see each other
        at_s = float(int(now_s - age_s)) if self._random.random() < 0.1 else now_s - age_s
        return datetime.fromtimestamp(at_s, zone).isoformat()

    def _user(self) -> str:
        """Some users are much busier than others."""
        return f"u{int(self._users * self._random.random() ** 3)}"

    def _topic(self) -> str:
        return self._random.choice([TRANSACTIONS.name, LABELS.name])
