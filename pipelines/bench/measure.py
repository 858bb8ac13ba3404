"""How one thing is measured: several times, with the most memory the process held meanwhile."""

import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

_T = TypeVar("_T")
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MB = 1_000_000


@dataclass(frozen=True)
class Measured(Generic[_T]):
    """What a call gave the last time, its wall times in seconds, and memory in MB (1e6 bytes).

    cpu_seconds  processor time of this process in each call, all threads together: it hardly depends on what else runs
    kernel_seconds  of that, what the kernel took: nearly all of it to hand out fresh pages, which on a virtual machine whose
                 host takes back what is free costs many times as much as on others
    peak_rss_mb  the most this process held at any moment of the calls, all that was there before included
    added_mb     of that, the most above what it held before the call
    """

    result: _T
    seconds: tuple[float, ...]
    peak_rss_mb: float
    added_mb: float
    cpu_seconds: tuple[float, ...] = ()
    kernel_seconds: tuple[float, ...] = ()

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

    @property
    def best_s(self) -> float:
        return min(self.seconds)

    @property
    def cpu_s(self) -> float | None:
        """The median; None where the work was done by other processes."""
        return statistics.median(self.cpu_seconds) if self.cpu_seconds else None

    @property
    def kernel_s(self) -> float | None:
        """The median; None likewise."""
        return statistics.median(self.kernel_seconds) if self.kernel_seconds else None

    @property
    def user_s(self) -> float | None:
        """The median of the rest of the processor time; None likewise."""
        rest = [cpu - kernel for cpu, kernel in zip(self.cpu_seconds, self.kernel_seconds, strict=True)]
        return statistics.median(rest) if rest else None


def measure(call: Callable[[], _T], times: int) -> Measured[_T]:
    """Call it `times` times, each on a collected heap; to warm up what a first call compiles is up to the caller."""
    return in_turns({"it": call}, times)["it"]


def in_turns(calls: Mapping[str, Callable[[], Any]], times: int) -> dict[str, Measured]:
    """Each call `times` times, one after the other in turns, so that a machine that is busy for a while is so for all."""
    runs: dict[str, list[_Run]] = {name: [] for name in calls}
    results: dict[str, Any] = {}
    for _ in range(times):
        for name, call in calls.items():
            results.pop(name, None)  # the last result is no part of this call's memory
            gc.collect()
            before_mb = resident_mb()
            forget_peak()
            before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
            results[name] = call()
            seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
            kernel_s = after.ru_stime - before.ru_stime
            taken = seconds, after.ru_utime - before.ru_utime + kernel_s, kernel_s
            peak_mb = peak_rss_mb()
            runs[name].append(_Run(*taken, peak_mb, max(0.0, peak_mb - before_mb)))
    return {name: _summed_up(results[name], of_call) for name, of_call in runs.items()}


class _Run(NamedTuple):
    seconds: float
    cpu_seconds: float
    kernel_seconds: float
    peak_mb: float
    added_mb: float


def _summed_up(result: _T, runs: Sequence[_Run]) -> Measured[_T]:
    seconds, cpu, kernel, peaks, added = zip(*runs, strict=True)
    return Measured(result, seconds, max(peaks), max(added), cpu, kernel)


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
