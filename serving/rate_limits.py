"""RATE_LIMIT_PER_S: how much one key may ask, so that no caller takes the service from the others."""

import math
import time
from collections.abc import Callable

from serving.keys import ApiKey
from serving.problems import Problem


class RateLimits:
    """A token bucket a key: a second's worth at once, and then per_s requests a second; a batch is one request.

    per_s  None: no limit
    clock  seconds that only go forward
    """

    def __init__(self, per_s: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._clock = per_s, clock
        self._left: dict[bytes, tuple[float, float]] = {}

    def take(self, key: ApiKey) -> None:
        """Count a request of the key. Raises the 429 Problem, which says when to come again."""
        if self._per_s is None:
            return
        now = self._clock()
        left, then = self._left.get(key.digest, (float(self._per_s), now))
        left = min(float(self._per_s), left + (now - then) * self._per_s)
        if left < 1:
            raise _too_many(key.name, self._per_s, (1 - left) / self._per_s)
        self._left[key.digest] = left - 1, now


def _too_many(name: str, per_s: int, wait_s: float) -> Problem:
    return Problem(
        429,
        "rate-limit",
        f"The key {name} has used up its {per_s} requests a second",
        "header X-API-Key or Authorization",
        "Come again after Retry-After, send a batch, or raise RATE_LIMIT_PER_S.",
        {"Retry-After": str(math.ceil(wait_s))},
    )
