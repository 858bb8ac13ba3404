"""How one thing is measured: several times, with the most memory the process held meanwhile."""

import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

_T = TypeVar("_T")
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MB = 1_000_000


@dataclass(frozen=True)
class Measured(Generic[_T]):
    """What a call gave the last time, its wall time in seconds, and memory in MB (1e6 bytes).

    peak_rss_mb  the most this process held at any moment of the calls, all that was there before included
    added_mb     of that, above what it held before the first call
    """

    result: _T
    seconds: tuple[float, ...]
    peak_rss_mb: float
    added_mb: float

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

    @property
    def best_s(self) -> float:
        return min(self.seconds)


def measure(call: Callable[[], _T], times: int) -> Measured[_T]:
    """Call it `times` times, each on a collected heap; to warm up what a first call compiles is up to the caller."""
    gc.collect()
    before_mb = resident_mb()
    forget_peak()
    seconds = []
    for _ in range(times):
        result = None  # the last result is no part of the next call's memory
        gc.collect()
        began = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - began)
    peak_mb = peak_rss_mb()
    return Measured(result, tuple(seconds), peak_mb, max(0.0, peak_mb - before_mb))  # type: ignore[arg-type]


def resident_mb() -> float:
    """What this process holds now; where the system does not say, the most it ever held."""
    return _status_mb("VmRSS") if STATUS.exists() else peak_rss_mb()


def peak_rss_mb() -> float:
    """The most this process held since forget_peak (Linux) or since it began."""
    if STATUS.exists():
        return _status_mb("VmHWM")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MB


def forget_peak() -> None:
    """Let the peak begin anew; a system that cannot keeps it."""
    try:
        CLEAR.write_text("5")
    except OSError:
        return


def _status_mb(name: str) -> float:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / MB
