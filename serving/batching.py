"""Single scores, taken together: what arrives while a batch is being scored goes with the next one.

At light load a batch is one request and nothing waits; towards capacity batches grow, and a request costs a fraction. Past
capacity a request that would wait too long is refused before its body is read, so that the accepted ones keep their latency.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from opentelemetry.context import Context
from opentelemetry.trace import Span, Tracer, get_current_span

from serving.messages import ScoreRequest
from serving.metrics import Metrics
from serving.problems import unavailable
from serving.reading import Reading
from serving.scoring import Scored, Scorer, now_utc
from serving.traces import links_to

MOST_TOGETHER = 8
"""Batches of 32 answer six in a hundred more when twice as many come as can be answered, twice as late."""

LONGEST_WAIT_S = 0.006
"""A request that would wait for longer is refused, unless it goes with the very next batch."""

WEIGHT = 0.2


@dataclass(frozen=True)
class _Waiting:
    request: ScoreRequest
    request_id: str
    span: Span
    outcome: asyncio.Future[Scored]


class Batching:
    """Scores requests one by one, for callers on the event loop."""

    def __init__(self, scorer: Scorer, reading: Reading, metrics: Metrics, tracer: Tracer) -> None:
        self._scorer, self._reading, self._metrics, self._tracer = scorer, reading, metrics, tracer
        self._queue: deque[_Waiting] = deque()
        self._is_scoring = False
        self._batch_s = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def require_room(self) -> None:
        """Raise the 503 Problem when a request that came now would wait for too long."""
        batches_ahead = len(self._queue) // MOST_TOGETHER
        if batches_ahead and batches_ahead * self._batch_s > LONGEST_WAIT_S:
            self._metrics.shed.inc()
            raise unavailable("overload", "The service is at its capacity", "POST /v1/score", "Send it again in a second.")

    async def score(self, request: ScoreRequest, request_id: str) -> Scored:
        """One answer, as of its transaction's instant or now. Raises what scoring raises, and the 503 Problems of reading."""
        waiting = _Waiting(request, request_id, get_current_span(), asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._begin()
        try:
            return await self._reading.in_time(waiting.outcome)
        finally:
            waiting.outcome.cancel()  # one that nobody waits for is not scored

    def _begin(self) -> None:
        """Take the next batch, one at a time: a second one would fight the first and the event loop for the interpreter."""
        while self._queue and not self._is_scoring:
            batch = [self._queue.popleft() for _ in range(min(MOST_TOGETHER, len(self._queue)))]
            batch = [waiting for waiting in batch if not waiting.outcome.done()]
            if batch:
                self._is_scoring = True
                task = asyncio.create_task(self._score(batch))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _score(self, batch: Sequence[_Waiting]) -> None:
        began = time.perf_counter()
        requests, request_ids = [waiting.request for waiting in batch], [waiting.request_id for waiting in batch]
        outcomes: Sequence[Scored | Exception]
        try:
            links = links_to([waiting.span for waiting in batch])
            with self._tracer.start_as_current_span("score", Context(), links=links) as span:
                span.set_attribute("plumbline.requests", len(batch))
                outcomes = await self._reading.unbounded(self._scorer.score_each, requests, request_ids, now_utc())
        except Exception as error:  # noqa: BLE001  each of those who wait raises it
            outcomes = [error] * len(batch)
        finally:
            self._is_scoring = False
            self._begin()
        self._batch_s += WEIGHT * (time.perf_counter() - began - self._batch_s)
        self._metrics.batches.observe(len(batch))
        for waiting, outcome in zip(batch, outcomes, strict=True):
            _settle(waiting.outcome, outcome)


def _settle(future: asyncio.Future[Scored], outcome: Scored | Exception) -> None:
    if future.done():
        return
    settle: Callable[..., None] = future.set_exception if isinstance(outcome, Exception) else future.set_result
    settle(outcome)
