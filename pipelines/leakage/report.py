"""The leaks as a table, a plot and JSON under reports/."""

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from pipelines.leakage.leaks import Leak


def written(folder: Path, honest: dict[str, Any], leaks: list[Leak], shared: dict[str, Any]) -> list[Path]:
    """Write leakage.json and leakage.png into folder; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"name": leak.name, "what": leak.what, "apparent": leak.apparent, "real": leak.real} for leak in leaks]
    report, plot = folder / "leakage.json", folder / "leakage.png"
    report.write_text(json.dumps({**shared, "honest": honest, "leaks": rows}, indent=1, allow_nan=False), encoding="utf-8")
    _plot(honest, leaks).savefig(plot, dpi=120)
    return [report, plot]


def table(honest: dict[str, Any], leaks: list[Leak]) -> list[str]:
    """Lines for a terminal: average precision as shown and as it is, with 95 % intervals."""
    lines = [f"{'average precision':<28}{'shown':>24}{'in production':>24}"]
    lines.append(f"{'honest pipeline':<28}{_with_interval(honest):>24}{_with_interval(honest):>24}")
    for leak in leaks:
        lines.append(f"{leak.name:<28}{_with_interval(leak.apparent):>24}{_with_interval(leak.real):>24}")
    return [*lines, f"base rate {honest['base_rate']:.4f}"]


def _with_interval(worth: dict[str, Any]) -> str:
    low, high = worth["average_precision_ci"]
    return f"{worth['average_precision']:.3f} [{low:.3f}, {high:.3f}]"


def _plot(honest: dict[str, Any], leaks: list[Leak]) -> Figure:
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    places = range(len(leaks))
    for offset, label, colour in ((-0.2, "apparent", "tab:red"), (0.2, "real", "tab:blue")):
        heights = [getattr(leak, label)["average_precision"] for leak in leaks]
        axes.barh([place + offset for place in places], heights, height=0.4, color=colour, label=label)
    axes.axvline(honest["average_precision"], color="black", linestyle="--", label="honest pipeline")
    axes.set_yticks(list(places), [leak.name for leak in leaks])
    axes.invert_yaxis()
    axes.set_xlabel("average precision on test rows")
    axes.legend()
    return figure
