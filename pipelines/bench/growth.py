"""Growth: the same training windows at five sizes; the time an event takes must not grow with them."""

from collections.abc import Iterator
from pathlib import Path

from pipelines.bench.history import input_bytes, measured_history, store_over, training_rows
from pipelines.bench.lines import Line, compared, figures
from pipelines.bench.measure import MB
from pipelines.bench.worlds import World, write_log

SIZES = (500_000, 1_000_000, 2_000_000, 4_000_000, 8_000_000)
REFERENCE = 1_000_000
RUNS = 3


def lines(scale: float, folder: Path) -> Iterator[Line]:
    """One line a size: as many rows as events; `of_1m` is the time an event takes relative to that at the second size."""
    found = []
    for size in SIZES:
        events = round(size * scale)
        place = folder / str(size)
        log = write_log(World(events), place / "log")
        rows = training_rows(log)
        ours = measured_history(store_over(log, place, "local", every=None), rows, RUNS)
        bytes_mb = (input_bytes(log, rows) + ours.result.nbytes) / MB
        event_ns = ours.median_s / events * 1e9
        line = compared("growth", events, ours, {}, rows=len(rows), event_ns=figures(event_ns), input_output_mb=round(bytes_mb))
        found.append((size, line, event_ns))
        del ours, rows
    reference_ns = next(event_ns for size, _, event_ns in found if size == REFERENCE)
    for _, line, event_ns in found:
        note = f"{event_ns:.0f} ns an event, {event_ns / reference_ns:.2f} of that at {REFERENCE * scale:,.0f}"
        yield line | {"of_1m": figures(event_ns / reference_ns), "note": note}
