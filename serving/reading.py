"""Blocking work beside the event loop: a few threads, a deadline, and a bound on what may wait."""

import asyncio
import contextvars
import functools
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from plumbline import StateUnreadable, StoreUnavailable
from serving.metrics import Metrics
from serving.problems import Problem, unavailable

THREADS = 8
DEADLINE_S = 0.7
MOST_WAITING = 128
"""Reads in flight at once; at about a millisecond each the last one is answered within a fifth of a second."""

REST_S = 0.2
"""After a failure the store is not asked for this long, so that a store that is away costs nobody a timeout."""

AWAY = frozenset({"store-away", "store-timeout"})
"""Kinds of the Problems that say that the store does not answer."""

Result = TypeVar("Result")


class Reading:
    """Runs reads of the store in threads; a store that is away costs its caller at most the deadline.

    A read that hangs keeps its thread until the store's own timeout, but never its request.
    """

    def __init__(self, metrics: Metrics, deadline_s: float = DEADLINE_S) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="read")
        self._metrics, self._deadline_s, self._waiting = metrics, deadline_s, 0
        self._resting_until = 0.0

    async def run(self, work: Callable[..., Result], *arguments: object) -> Result:
        """`work(*arguments)` in a thread. Raises the 503 Problem past the deadline or bound, or with the store away."""
        if self._waiting >= MOST_WAITING:
            raise self._refused("overload", "The service is at its capacity", "Send the request again in a second.")
        self._waiting += 1
        try:
            return await self.in_time(self.unbounded(work, *arguments))
        finally:
            self._waiting -= 1

    async def in_time(self, answer: Awaitable[Result]) -> Result:
        """What `answer` gives. Raises the 503 Problem past the deadline, or with the store away."""
        try:
            async with asyncio.timeout(self._deadline_s):
                return await answer
        except TimeoutError:
            raise self._refused("timeout", f"No answer from the store within {self._deadline_s:g} s") from None
        except StoreUnavailable:
            raise self._refused("away", "The online store is not reachable") from None
        except StateUnreadable as error:
            raise self._refused("unreadable", str(error), "Run `make materialize`, which repairs states.") from error

    async def unbounded(self, work: Callable[..., Result], *arguments: object) -> Result:
        """The same without deadline or bound. Raises StoreUnavailable at once while the store rests after a failure."""
        if time.monotonic() < self._resting_until:
            raise StoreUnavailable("The online store did not answer a moment ago.")
        try:
            call = functools.partial(contextvars.copy_context().run, work, *arguments)
            return await asyncio.get_running_loop().run_in_executor(self._pool, call)
        except StoreUnavailable:
            self._resting_until = time.monotonic() + REST_S
            raise

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _refused(self, cause: str, what: str, remedy: str | None = None) -> Problem:
        self._metrics.store_failures.labels(cause).inc()
        fallback = "Send the request again; for the operator: `make status`, then `make up`."
        return unavailable(f"store-{cause}", what, "online store (REDIS_CONNECTION_STRING)", remedy or fallback)
