"""A fold that comes back after an outage: how long until it is at the head of the topic again, with events still coming in."""

import sys
import time
from collections.abc import Iterator
from contextlib import closing

from feature_repo import open_store
from streaming.bench.sample import load, sending
from streaming.bench.throughput import ends_of
from streaming.chaos.victims import Victims
from streaming.fold import open_consumer

RATE = 1_000.0
"""Events a second, during the outage and after it."""
LOOK_EVERY_S = 5.0
GIVEN_UP_AFTER_S = 3_600.0
Line = dict[str, object]


class NeverCaughtUp(RuntimeError):
    """The fold was still behind when nobody would wait any longer."""


def lines(stack: Victims, outage_s: float) -> Iterator[Line]:
    """Starts a fold on what an outage left in the topic, and tells on standard error how far behind it is.

    Caught up is who is less than a second of traffic behind; the time counts from the start of the process. Raises
    NeverCaughtUp, and NotUp where the fold does not start.
    """
    settings, missed = stack.settings, round(RATE * outage_s)
    servers = settings.kafka_bootstrap_servers
    store = open_store(settings)
    print(f"catch-up: {missed:,} events go into the topic ...", file=sys.stderr)
    load(servers, missed)
    with sending(servers, RATE, GIVEN_UP_AFTER_S, seed=78), closing(open_consumer(servers, settings.fold_group)) as consumer:
        began = time.perf_counter()
        stack.start_fold()
        while (behind := _behind(ends_of(consumer), store.positions("user_activity"))) >= RATE:
            elapsed_s = time.perf_counter() - began
            print(f"catch-up: {behind:,} events behind after {elapsed_s:.0f} s", file=sys.stderr)
            if elapsed_s > GIVEN_UP_AFTER_S:
                raise NeverCaughtUp(f"the fold is {behind:,} events behind after {elapsed_s:.0f} s.")
            time.sleep(LOOK_EVERY_S)
        taken_s = time.perf_counter() - began
    yield {
        "bench": "catch_up", "size": missed, "rate": RATE, "outage_s": outage_s, "caught_up_s": round(taken_s, 1),
        "fold_events_s": round(missed / taken_s + RATE),
    }  # fmt: skip


def _behind(ends: dict[int, int], positions: dict[int, int]) -> int:
    return sum(max(0, end - 1 - positions.get(partition, -1)) for partition, end in ends.items())
