"""A long command: says what it does and how long it took, and shows the end of its output when it fails."""

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

SILENCE_S = 10
LINES_SHOWN = 12


class StepFailed(RuntimeError):
    """A command of the set-up failed; the message holds the last lines it printed."""


def run(
    title: str,
    command: Sequence[str | Path],
    log: Path,
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run `command` with its output in `log`; prints the title, a sign of life every 10 s, and the seconds it took.

    Raises StepFailed when it exits non-zero.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    print(f"{title} ...", flush=True)
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=output, stderr=subprocess.STDOUT)
        while _still_runs(process):
            print(f"  still at it after {time.monotonic() - began:.0f} s ({log})", flush=True)
    if process.returncode != 0:
        raise StepFailed("\n  ".join([f"{title} failed (exit code {process.returncode}). The end of {log}:", *tail(log)]))
    print(f"  done in {time.monotonic() - began:.1f} s", flush=True)


def tail(log: Path, lines: int = LINES_SHOWN) -> list[str]:
    """The last lines of a log; empty when there is no such file."""
    return log.read_text(errors="replace").splitlines()[-lines:] if log.exists() else []


def _still_runs(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(timeout=SILENCE_S)
    except subprocess.TimeoutExpired:
        return True
    return False
