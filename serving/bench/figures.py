"""From latencies to figures: exact percentiles a line, and the curves as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Line = dict[str, Any]
PERCENTILES = {"p50_ms": 50.0, "p90_ms": 90.0, "p99_ms": 99.0, "p99_9_ms": 99.9, "max_ms": 100.0}
WITHIN_MS = 10.0
MOST_REFUSED = 0.01


def line(server: str, what: str, rate: float, result: dict[str, Any], cpu_s: float, rss_mb: float) -> Line:
    """One rate of one server. cpu_ms: processor time of the server's process, a request sent."""
    told = outcome(result)
    cpu_ms = round(cpu_s * 1e3 / told["sent"], 4)
    return {
        "bench": "serve", "server": server, "what": what, "rate": rate, **told, "cpu_ms": cpu_ms, "rss_mb": round(rss_mb),
    }  # fmt: skip


def outcome(result: dict[str, Any]) -> Line:
    """How many were sent, their statuses, and latencies from the intended instant to the whole answer; percentiles of the
    accepted ones are exact, not estimated.
    """
    latency, status = np.array(result["latency"], dtype=float), np.array(result["status"])
    accepted = latency[status == 200] * 1e3
    refused = latency[status == 503] * 1e3
    statuses = {str(code): int((status == code).sum()) for code in np.unique(status)}
    return {
        "sent": len(status),
        "status": statuses,
        **{name: _percentile(accepted, at) for name, at in PERCENTILES.items()},
        "refused_p99_ms": _percentile(refused, 99.0),
    }


def sustained(lines: Sequence[Line], server: str, what: str) -> float:
    """The highest rate that a server answered within 10 ms at the 99th percentile, refusing at most 1 %; 0 without one."""
    good = [
        of_rate["rate"]
        for of_rate in lines
        if (of_rate["server"], of_rate["what"]) == (server, what)
        and of_rate["p99_ms"] is not None
        and of_rate["p99_ms"] <= WITHIN_MS
        and of_rate["status"].get("200", 0) >= (1 - MOST_REFUSED) * of_rate["sent"]
    ]
    return max(good, default=0.0)


def plot(lines: Sequence[Line], path: Path) -> None:
    """The 99th percentile against the rate, a curve a server, both axes logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5))
    axes = figure.subplots()
    for server, what in dict.fromkeys((of_rate["server"], of_rate["what"]) for of_rate in lines):
        of_server = [of_rate for of_rate in lines if (of_rate["server"], of_rate["what"]) == (server, what)]
        axes.plot(
            [of_rate["rate"] for of_rate in of_server],
            [of_rate["p99_ms"] or float("nan") for of_rate in of_server],
            marker="o",
            label=f"{server}, {what}",
        )
    axes.axhline(WITHIN_MS, color="grey", linestyle=":")
    axes.set(xscale="log", yscale="log", xlabel="requests a second", ylabel="99th percentile of accepted requests, ms")
    axes.legend()
    axes.grid(visible=True, which="both", alpha=0.3)
    figure.savefig(path, bbox_inches="tight")


def _percentile(milliseconds: np.ndarray, at: float) -> float | None:
    return round(float(np.percentile(milliseconds, at, method="higher")), 3) if len(milliseconds) else None
