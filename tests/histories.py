"""Hypothesis strategies for event histories that look for trouble: ties, edges, late rows, re-deliveries, nulls, extremes.

A history is a list of events and a list of entity rows, both plain dicts with times in whole microseconds, as tests/naive.py
reads them. Half of the times are drawn from the edges of the windows of the rows, so that off-by-ones are met at once.
"""

import os
import zlib
from dataclasses import dataclass

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from naive import DAY, HOUR, MINUTE, SECOND, start

SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
settings.register_profile("default", derandomize=True, deadline=None, suppress_health_check=SLOW_IS_FINE)
settings.register_profile("thorough", deadline=None, suppress_health_check=SLOW_IS_FINE)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")
settings.load_profile(PROFILE)

LATENESS = DAY
TAILS = ((10 * MINUTE, 1), (HOUR, 1), (DAY, 5 * MINUTE), (2 * DAY, DAY), (3 * DAY, HOUR), (7 * DAY, DAY))
"""(window, slide) of the windows that the tests declare; the edges of each are drawn as event times."""

BASES = (1_710_028_800 * SECOND, 0, -10 * DAY, 1_709_210_096 * SECOND + 123_457)
"""2024-03-10 00:00, 1970 and before, and an instant that is no multiple of anything."""

USERS = ("1", "12", "ann", "ünï ✓", "")
MERCHANTS = ("23", "3", "m|n", "ünï ✓", "")
DEVICES = (0, -1, 7, 2**63 - 1)
KEYS = ("user_id", "merchant_id", "device_id")


def examples(count: int) -> settings:
    """How many examples a property gets by default; twenty times as many under HYPOTHESIS_PROFILE=thorough."""
    return settings(max_examples=count * (20 if PROFILE == "thorough" else 1))


@dataclass(frozen=True)
class History:
    """Events of a log and the entity rows (their instant is `at`) that ask about them."""

    events: list[dict]
    rows: list[dict]


def nullable(values):
    return st.one_of(st.none(), values, values, values, values)


@st.composite
def entity_rows(draw, base: int, users=USERS, merchants=MERCHANTS, devices=DEVICES):
    """An entity and an instant within four days of base."""
    offset = draw(st.one_of(st.sampled_from((0, MINUTE, HOUR, DAY, 3 * DAY)), st.integers(0, 4 * DAY)))
    return {
        "user_id": draw(nullable(st.sampled_from(users))),
        "merchant_id": draw(nullable(st.sampled_from(merchants))),
        "device_id": draw(nullable(st.sampled_from(devices))),
        "at": base + offset,
    }


def edges(rows: list[dict]) -> list[int]:
    """The rows' instants and the starts of their windows, and one microsecond to either side."""
    instants = {row["at"] for row in rows}
    starts = {start(at, window, slide) for at in instants for window, slide in TAILS}
    return sorted(edge + step for edge in instants | starts for step in (-1, 0, 1))


def delays():
    """How long after its time an event became known: on and beside each limit of the rules for streamed rows."""
    limits = (0, -5 * MINUTE, LATENESS)
    beside = [limit + step for limit in limits for step in (-1000, -1, 0, 1, 1000)]
    return st.one_of(st.integers(0, 5 * SECOND), st.sampled_from(beside), st.integers(-10 * MINUTE, 2 * DAY))


def amounts():
    """Integers whose sums over 40 events stay inside int64."""
    most = (2**63 - 1) // 40
    return nullable(st.one_of(st.integers(0, 5), st.integers(-1000, 100_000), st.sampled_from((most, -most, 10**15))))


def balances():
    """Any int64, the extremes often: for the functions whose result cannot overflow."""
    return nullable(st.one_of(st.sampled_from((2**63 - 1, -(2**63), 2**53 + 1, 0, -1)), st.integers(-(2**63), 2**63 - 1)))


def prices():
    """Floats, huge and tiny, with NaN (which is null) and both zeros. Outside these magnitudes a square leaves float64."""
    special = (float("nan"), 0.0, -0.0, 0.1, 1e15 + 0.3, -(1e15 + 0.3), 1e-15, 1e-140, 1e150, -1e150)
    drawn = st.one_of(st.floats(-1e6, 1e6), st.sampled_from(special), st.floats(-1e150, 1e150))
    return nullable(drawn.map(lambda price: 0.0 if abs(price) < 1e-140 else price))


def categories():
    return nullable(st.sampled_from(("", "a", "A", "a ", "é", "✓", "nul\0", "None", "zz")))


@st.composite
def events(draw, times: list[int], rows: list[dict], streamed: float | None = None):
    """One event, near a row more often than not: its time, keys and creation come from the rows' own."""
    row = draw(st.sampled_from(rows))
    at = draw(st.one_of(st.sampled_from(times), st.sampled_from(times), st.integers(times[0] - DAY, times[-1] + HOUR)))
    created = draw(st.one_of(delays().map(lambda delay: at + delay), st.sampled_from(times)))
    return {
        "user_id": draw(st.one_of(st.just(row["user_id"]), nullable(st.sampled_from(USERS)))),
        "merchant_id": draw(st.one_of(st.just(row["merchant_id"]), nullable(st.sampled_from(MERCHANTS)))),
        "device_id": draw(st.one_of(st.just(row["device_id"]), nullable(st.sampled_from(DEVICES)))),
        "event_timestamp": at,
        "created_timestamp": created,
        "amount_cents": draw(amounts()),
        "balance": draw(balances()),
        "price": draw(prices()),
        "category": draw(categories()),
        "streamed": draw(st.booleans()) if streamed is None else streamed,
    }


@st.composite
def redeliveries(draw, event: dict):
    """The same id again under the same keys, later or earlier created; sometimes the sender changed its mind."""
    again = dict(event, created_timestamp=event["event_timestamp"] + draw(delays()))
    if draw(st.booleans()):
        again["amount_cents"] = draw(amounts())
    if draw(st.integers(0, 3)) == 0:
        again["event_timestamp"] = again["created_timestamp"] - draw(delays())
    return again


@st.composite
def histories(draw, base: int | None = None, streamed: bool | None = None, partitions: int = 2, size: int = 24):
    """A history with ids, partitions and offsets; `streamed` False or True makes all of it history or none of it.

    A user's events (or those of an id) always take one partition; offsets follow the drawn order or that of creation, with
    gaps.
    """
    base = draw(st.sampled_from(BASES)) if base is None else base
    rows = draw(st.lists(entity_rows(base), min_size=1, max_size=5))
    times = edges(rows)
    count = draw(st.integers(0, size))
    drawn = draw(st.lists(events(times, rows, streamed), min_size=count, max_size=count))
    for number, event in enumerate(drawn):
        event["event_id"] = f"e{number * 7919 % 1000}"
    seen = [event for event in drawn if event["streamed"]]
    if seen:
        again = draw(st.lists(st.sampled_from(seen).flatmap(redeliveries), max_size=size // 4))
        drawn = draw(st.permutations(drawn + again)) if again else drawn
    rows = rows + draw(st.lists(st.sampled_from(rows), max_size=2))
    keyed_by = draw(st.sampled_from(("user_id", "event_id")))
    return History(place(drawn, partitions, draw(st.booleans()), draw(st.integers(1, 3)), keyed_by), rows)


def place(drawn: list[dict], partitions: int, by_creation: bool, gap: int, keyed_by: str) -> list[dict]:
    """Give each streamed event its partition and offset; history has none."""
    arrived = sorted(drawn, key=lambda e: e["created_timestamp"]) if by_creation else drawn
    ends = dict.fromkeys(range(partitions), 0)
    placed = []
    for number, event in enumerate(arrived):
        partition = offset = None
        if event["streamed"]:
            partition = zlib.crc32((event[keyed_by] or event["event_id"]).encode()) % partitions
            offset = ends[partition]
            ends[partition] += 1 if number % gap else gap
        payload = {name: value for name, value in event.items() if name != "streamed"}
        placed.append(payload | {"source_partition": partition, "source_offset": offset})
    return placed


@st.composite
def cuts(draw, recorded: History) -> dict[int, list[list[dict]]]:
    """Each partition's events in the order of offsets, cut into batches."""
    batches = {}
    for partition in sorted({e["source_partition"] for e in recorded.events} - {None}):
        events = sorted((e for e in recorded.events if e["source_partition"] == partition), key=lambda e: e["source_offset"])
        ends = sorted(draw(st.lists(st.integers(0, len(events)), max_size=3)))
        batches[partition] = [events[a:b] for a, b in zip([0, *ends], [*ends, len(events)], strict=True) if a < b]
    return batches


@st.composite
def plain_histories(draw, base: int | None = None):
    """A history of a log that has no ids, partitions or offsets; no two events of it are created at one instant."""
    history = draw(histories(base, streamed=False))
    instants: set[int] = set()
    kept = []
    for event in history.events:
        if event["created_timestamp"] not in instants:
            instants.add(event["created_timestamp"])
            kept.append({k: v for k, v in event.items() if not k.startswith("source_") and k != "event_id"})
    return History(kept, history.rows)
