"""Compiles every loop of the engine by using it once, on a handful of events of every kind of column."""

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numba
import numpy as np
import pyarrow as pa
from numba.core.registry import cpu_target

from plumbline.compiled import PACKAGE, sources_hash

if TYPE_CHECKING:
    from plumbline.view_spec import ViewSpec

DONE = PACKAGE / "__pycache__" / "kernels-complete"
"""Says of which sources, by which numba and for which processor everything was compiled."""

INSTANT = pa.timestamp("us", "UTC")
KINDS = {"whole": pa.int64(), "wide": pa.int64(), "unsigned": pa.uint64(), "real": pa.float64(), "text": pa.string()}
HOUR, DAY = 3_600_000_000, 86_400_000_000
TAILS = ((HOUR, 1), (DAY, 300_000_000))


def main() -> None:
    """Compile what was not compiled from these sources on this processor yet; steps side by side, one line each."""
    sources = sources_hash(*(path for path in PACKAGE.rglob("*.py") if b"plumbline.compiled" in path.read_bytes()))
    here = f"{sources} numba {numba.__version__} on {cpu_target.target_context.codegen().magic_tuple()}"
    if DONE.exists() and DONE.read_text() == here:
        print("The engine's loops are compiled.")
        return
    started = time.monotonic()
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as processes:
        steps = {processes.submit(_seconds_of, name): name for name in STEPS}
        for number, done in enumerate(as_completed(steps), start=1):
            print(f"{number}/{len(STEPS)} {steps[done]} in {done.result():.0f} s", flush=True)
    print(f"The engine's loops are compiled, in {time.monotonic() - started:.0f} s.")
    if DONE.parent.exists():
        DONE.write_text(here)


def _seconds_of(step: str) -> float:
    began = time.monotonic()
    STEPS[step]()
    return time.monotonic() - began


def _history() -> None:
    """Every window at every event, plain and as known, from events of a topic and of history."""
    from plumbline.acceptance import accepted
    from plumbline.point_in_time import evaluate

    events = _events()
    accepted(events, DAY)
    instants = events["event_timestamp"].combine_chunks()
    with_null = pa.array([None, *instants[1:]], INSTANT)
    for keys in (("entity",), ("entity", "whole")):
        for at, as_known in ((instants, False), (with_null, True)):
            evaluate(events, _spec(*keys, unsigned=True), events, at, as_known)


def _fold() -> None:
    from plumbline.layout import Layout
    from plumbline.rows import rows_from_table
    from plumbline.state import fold

    layout = Layout(_spec())
    rows = rows_from_table(_events(), layout, keep_ids=True)
    fold(layout, fold(layout, [None], rows, np.array([0, len(rows)]), [1]), rows, np.array([0, len(rows)]), [2])


def _read() -> None:
    from plumbline.layout import Layout
    from plumbline.rows import rows_from_table
    from plumbline.state import fold, raw_rows_at, window_values

    layout = Layout(_spec())
    rows = rows_from_table(_events(), layout, keep_ids=True)
    (pushed,) = fold(layout, [None], rows, np.array([0, len(rows)]), [1], keep_us=DAY)
    raw_rows_at(layout, np.frombuffer(pushed, dtype=np.int64), pushed)
    window_values(layout, [[pushed]], int(rows.at.max()) + 1)


STEPS: dict[str, Callable[[], None]] = {"history": _history, "fold": _fold, "read": _read}


def _events() -> pa.Table:
    """Ten events of one entity: some late, two deliveries of one id, some values null, some that streamed."""
    at = pa.array([n * HOUR // 2 for n in range(10)]).cast(INSTANT)
    created = pa.array([n * HOUR // 2 + (n % 3) * HOUR for n in range(10)]).cast(INSTANT)
    wide = [2**61, None, -(2**61), 5] * 2 + [0, 1]  # whose sum may leave int64, for all that the loops know
    small = pa.array([None if n == 4 else n for n in range(10)], pa.int64())
    return pa.table(
        {
            "entity": pa.array(["one"] * 10),
            "event_timestamp": at,
            "created_timestamp": created,
            "event_id": pa.array([f"id {max(n, 6)}" for n in range(10)]),
            "source_partition": pa.array([None] * 5 + [0] * 5, pa.int32()),
            "source_offset": pa.array([None] * 5 + list(range(5)), pa.int64()),
            **{name: small.cast(kind) for name, kind in KINDS.items()},
            "wide": pa.array(wide, pa.int64()),
        }
    )


def _spec(*join_keys: str, unsigned: bool = False) -> "ViewSpec":
    """Every function of every kind of column, over an exact window and one with a coarser tail."""
    from plumbline.spec import ANY_TYPE_FUNCTIONS, FUNCTIONS, output_type
    from plumbline.view_spec import LogSource, ViewSpec, WindowSpec

    windows = tuple(
        WindowSpec(f"{name}_{function}_{over}", name, function, over, every, kind, output_type(function, kind))
        for over, every in TAILS
        for name, kind in KINDS.items()
        for function in (ANY_TYPE_FUNCTIONS if name == "text" else FUNCTIONS)
        if name != "unsigned" or unsigned
    )
    return ViewSpec("first", join_keys, LogSource("log", "", "event_timestamp", "created_timestamp", DAY), windows)
