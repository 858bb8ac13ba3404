"""What a benchmark prints: one JSON object a line, and at the end a table for people."""

import json
from collections.abc import Iterable, Mapping

from pipelines.bench.measure import Measured

Line = dict[str, object]
UNITS = (("s", 1.0), ("ms", 1e3), ("us", 1e6))


def compared(bench: str, size: int, ours: Measured, others: Mapping[str, Measured], **more: object) -> Line:
    """One line: medians in seconds as `<name>_s`, the best of the runs as `<name>_best_s`, processor time of this process
    as `<name>_cpu_s` and the kernel's share of it as `<name>_kernel_s`, memory of ours, and `ratio_<other>`: how many times
    as long the other's median is (`ratio_<other>_cpu` of processor time). `runs` says how often each was measured.
    """
    line: Line = {"bench": bench, "size": size, **_times("ours", ours)}
    for name, other in others.items():
        line |= {**_times(name, other), f"ratio_{name}": figures(other.median_s / ours.median_s)}
        if ours.cpu_s and other.cpu_s:
            line[f"ratio_{name}_cpu"] = figures(other.cpu_s / ours.cpu_s)
    runs = {"ours": len(ours.seconds)} | {name: len(other.seconds) for name, other in others.items()}
    return line | {"peak_rss_mb": round(ours.peak_rss_mb), "added_mb": round(ours.added_mb), "runs": runs} | more


def _times(name: str, measured: Measured) -> Line:
    times: Line = {f"{name}_s": figures(measured.median_s), f"{name}_best_s": figures(measured.best_s)}
    if measured.cpu_s is None or measured.kernel_s is None:
        return times
    return times | {f"{name}_cpu_s": figures(measured.cpu_s), f"{name}_kernel_s": figures(measured.kernel_s)}


def figures(number: float, digits: int = 4) -> float:
    """A number to its first digits."""
    return float(f"{number:.{digits}g}")


def emit(line: Line) -> None:
    """Print one line at once."""
    print(json.dumps(line), flush=True)


def table(lines: Iterable[Line]) -> str:
    """Lines as text for people, one a row: what was measured, ours, and every other with its ratio."""
    rows = [("bench", "size", "ours", "others", "peak")]
    for line in lines:
        others = [name.removeprefix("ratio_") for name in line if name.startswith("ratio_") and not name.endswith("_cpu")]
        told = [f"{name} {seconds(line[f'{name}_s'])} ({line[f'ratio_{name}']:.3g} x)" for name in others]
        told += [str(line["note"])] if "note" in line else []
        rows.append(
            (str(line["bench"]), f"{line['size']:,}", seconds(line["ours_s"]), ", ".join(told), f"{line['peak_rss_mb']:,} MB")
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def seconds(value: object) -> str:
    """A duration for people: 12.3 s, 4.56 ms, 78.9 us."""
    number = float(str(value))
    unit, factor = next((unit for unit in UNITS if number * unit[1] >= 1), UNITS[-1])
    return f"{number * factor:.3g} {unit}"
