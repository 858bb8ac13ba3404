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
    depend on what else the machine did meanwhile.
    """
    found = []
    for size in SIZES:
        events = round(size * scale)
        place = folder / str(size)
        log = write_log(World(events), place / "log")
        rows = training_rows(log)
        ours = measure(history_call(store_over(log, place, "local", every=None), rows), RUNS)
        bytes_mb = (input_bytes(log, rows) + ours.result.nbytes) / MB
        taken_ns = ours.median_s / events * 1e9, (ours.cpu_s or 0.0) / events * 1e9
        line = compared("growth", events, ours, {}, rows=len(rows), input_output_mb=round(bytes_mb))
        found.append((size, line, taken_ns))
        del ours, rows
    reference_ns, reference_cpu_ns = next(taken_ns for size, _, taken_ns in found if size == REFERENCE)
    for _, line, (event_ns, event_cpu_ns) in found:
        of_1m, of_1m_cpu = event_ns / reference_ns, event_cpu_ns / reference_cpu_ns
        line |= {"event_ns": figures(event_ns), "event_cpu_ns": figures(event_cpu_ns)}
        note = f"{event_ns:.0f} ns an event, {of_1m:.2f} of that at {REFERENCE * scale:,.0f} (processor time {of_1m_cpu:.2f})"
        yield line | {"of_1m": figures(of_1m), "of_1m_cpu": figures(of_1m_cpu), "note": note}
