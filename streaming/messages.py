"""What a record of an event topic may say: the payload columns of the log as JSON, typed and bounded."""

from typing import Annotated, Literal

import msgspec

from feature_repo.event_schema import EVENT_TYPES, MAX_AMOUNT_CENTS

MAX_CHARACTERS = 256

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CHARACTERS)]
Text = Annotated[str, msgspec.Meta(max_length=MAX_CHARACTERS)]
EventType = Literal[EVENT_TYPES]  # type: ignore[valid-type]  # the one list of them is the log's
Cents = Annotated[int, msgspec.Meta(ge=0, le=MAX_AMOUNT_CENTS)]


class Transaction(msgspec.Struct, gc=False):
    """A record of `transactions`. Unknown fields are ignored; an absent optional field and a null are the same.

    Of a field that stands twice the last counts.
    """

    event_id: Id
    user_id: Id
    event_timestamp: str
    merchant_id: Id | None = None
    device_id: Id | None = None
    event_type: EventType | None = "payment"
    category: Text | None = None
    channel: Text | None = None
    country: Text | None = None
    amount_cents: Cents | None = None
    session_id: Id | None = None

    def complete(self) -> None:
        if self.event_type is None:
            self.event_type = "payment"


class Label(msgspec.Struct, gc=False):
    """A record of `labels`: what became known about a transaction. event_timestamp is the transaction's.

    Without transaction_event_id the label is the first of the transaction whose event_id it carries.
    fraud_amount_cents has a meaning where is_fraud is 1 only.
    """

    event_id: Id
    user_id: Id
    event_timestamp: str
    is_fraud: Literal[0, 1]
    transaction_event_id: Id | None = None
    merchant_id: Id | None = None
    device_id: Id | None = None
    amount_cents: Cents | None = None
    fraud_amount_cents: Cents | None = None

    def complete(self) -> None:
        if self.transaction_event_id is None:
            self.transaction_event_id = self.event_id
        if not self.is_fraud:
            self.fraud_amount_cents = None


MESSAGES = {"transactions": Transaction, "labels": Label}
IDS = ("event_id", "user_id", "merchant_id", "device_id", "session_id", "transaction_event_id")
TEXTS = (*IDS, "category", "channel", "country")
"""Fields in which no control character may stand."""
