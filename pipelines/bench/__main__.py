"""`python -m pipelines.bench [--scale S] [--only NAME,...]`: JSON lines on standard output, then a table on standard error.

Each benchmark runs in a process of its own, so that its memory is its own. BENCH_SCALE is the default of --scale.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

from feature_repo.unchecked_feast import AS_SHIPPED
from pipelines.bench.lines import Line, emit, table

BENCHMARKS = ("history", "growth", "known", "materialize", "online", "memory")


def main() -> int:
    """0 when every benchmark ran and what it compares agreed."""
    arguments = _arguments()
    if arguments.alone:
        return _alone(arguments.alone, arguments.scale)
    found: list[Line] = []
    failed = []
    for name in arguments.only.split(","):
        began = time.monotonic()
        print(f"bench {name} ...", file=sys.stderr, flush=True)
        code = _in_its_own_process(name, arguments.scale, found)
        failed += [name] if code else []
        print(f"  {'failed' if code else 'done'} in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(f"\n{table(found)}", file=sys.stderr)
    if failed:
        print(f"These did not finish: {', '.join(failed)}; their words are above.", file=sys.stderr)
    return 1 if failed else 0


def _in_its_own_process(name: str, scale: float, found: list[Line]) -> int:
    command = [sys.executable, "-m", "pipelines.bench", "--alone", name, "--scale", str(scale)]
    shipped = {**os.environ, AS_SHIPPED: "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=shipped) as process:
        assert process.stdout is not None  # it was asked for above
        for text in process.stdout:
            if text.startswith("{"):
                found.append(json.loads(text))
                emit(found[-1])
            else:
                print(text, end="", file=sys.stderr)
    return process.returncode


def _alone(name: str, scale: float) -> int:
    with tempfile.TemporaryDirectory(prefix="plumbline-bench-") as folder:
        for line in import_module(f"pipelines.bench.{name}").lines(scale, Path(folder)):
            emit(line)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.bench", description="Speed beside what people use.")
    scale = float(os.environ.get("BENCH_SCALE", "1"))
    parser.add_argument("--scale", type=float, default=scale, help="of every size; 1 is millions of events and takes a while")
    parser.add_argument("--only", default=",".join(BENCHMARKS), help=f"some of {', '.join(BENCHMARKS)}")
    parser.add_argument("--alone", choices=BENCHMARKS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = set(arguments.only.split(",")) - set(BENCHMARKS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    if not arguments.scale > 0:
        parser.error("--scale must be above 0")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
