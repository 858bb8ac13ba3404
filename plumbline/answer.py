"""What a read gives back: values, and what they rest on."""

from dataclasses import dataclass
from datetime import datetime

from plumbline.online_reading import Positions


@dataclass(frozen=True)
class Answer:
    """One entity row's features, as of one instant, with what they rest on.

    features   full name `<view>__<name>` -> plain Python value, None for null
    statuses   full name -> PRESENT, NOT_FOUND or OUTSIDE_MAX_AGE
    found      view -> whether the store holds any state of the entity
    positions  view -> partition -> last offset applied, "history" -> generation; of a slowly changing view the row's times
    as_of      the instant (UTC, microseconds)
    overflows  which integers left their type, a sentence each; their value is None
    """

    features: dict[str, object]
    statuses: dict[str, str]
    found: dict[str, bool]
    positions: dict[str, Positions]
    as_of: datetime
    overflows: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether the store holds any state for any of the views."""
        return any(self.found.values())
