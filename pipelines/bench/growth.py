"""Growth: the same training windows at five sizes; the time an event takes must not grow with them."""

from collections.abc import Iterator
from pathlib import Path

from pipelines.bench.history import history_call, input_bytes, store_over, training_rows
from pipelines.bench.lines import Line, compared, figures
from pipelines.bench.measure import MB, measure
from pipelines.bench.worlds import World, write_log

SIZES = (500_000, 1_000_000, 2_000_000, 4_000_000, 8_000_000)
REFERENCE = 1_000_000
RUNS = 3


def lines(scale: float, folder: Path) -> Iterator[Line]:
    """One line a size: as many rows as events; `of_1m` is the time an event takes relative to that at the second size.

    The sizes are measured one after the other, minutes apart; `of_1m_cpu` is the same of processor time, which does not
    depend on what else the machine did meanwhile, and `of_1m_user` of that without the kernel's share, for fresh pages.
    """
    found = {}
    for size in SIZES:
        events = round(size * scale)
        place = folder / str(size)
        log = write_log(World(events), place / "log")
        rows = training_rows(log)
        ours = measure(history_call(store_over(log, place, "local", every=None), rows), RUNS)
        bytes_mb = (input_bytes(log, rows) + ours.result.nbytes) / MB
        seconds = {"": ours.median_s, "_cpu": ours.cpu_s or 0.0, "_user": ours.user_s or 0.0}
        line = compared("growth", events, ours, {}, rows=len(rows), input_output_mb=round(bytes_mb))
        found[size] = line, {kind: taken / events * 1e9 for kind, taken in seconds.items()}
        del ours, rows
    _, reference_ns = found[REFERENCE]
    for line, event_ns in found.values():
        of_1m = {kind: ns / reference_ns[kind] for kind, ns in event_ns.items()}
        line |= {f"event{kind}_ns": figures(ns) for kind, ns in event_ns.items()}
        line |= {f"of_1m{kind}": figures(times) for kind, times in of_1m.items()}
        note = (
            f"{event_ns['']:.0f} ns an event, {of_1m['']:.2f} of that at {REFERENCE * scale:,.0f} "
            f"(processor time {of_1m['_cpu']:.2f}, outside the kernel {of_1m['_user']:.2f})"
        )
        yield line | {"note": note}
