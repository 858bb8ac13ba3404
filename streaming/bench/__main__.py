"""`python -m streaming.bench`: JSON lines about the fold, measured against brokers and stores of its own."""

import argparse
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator

from feature_repo.settings import Settings
from streaming.bench import catch_up, freshness, throughput
from streaming.chaos.victims import NotUp, Victims

PARTS = ("fold", "freshness")
FURTHER = ("catch_up",)
"""Measured when it is asked for: putting an hour's events into a topic takes minutes."""


def main() -> int:
    """0 when everything was measured."""
    arguments = _arguments()
    logging.getLogger("kafka").setLevel(logging.ERROR)
    try:
        for part in arguments.only:
            for line in _lines(part, arguments):
                print(json.dumps(line), flush=True)
    except (NotUp, freshness.TooFew, catch_up.NeverCaughtUp) as problem:
        print(f"bench-stream: {problem}", file=sys.stderr)
        return 1
    return 0


def _lines(part: str, arguments: argparse.Namespace) -> Iterator[dict[str, object]]:
    """What is measured of a part, with a broker and a store of its own: a hot user of one would be in the other's way."""
    from feature_repo import open_store

    stack = Victims(Settings.from_env().data_dir / "bench-stream", folds=1)
    try:
        stack.bring_up_parts()
        open_store(stack.settings)
        warnings.filterwarnings("ignore", category=RuntimeWarning, module="feast")  # stream views are "experimental" to it
        if part == "fold":
            yield from throughput.lines(stack.settings, arguments.events)
        elif part == "catch_up":
            yield from catch_up.lines(stack, arguments.outage)
        else:
            stack.start_fold()
            stack.start_api()
            yield from freshness.lines(stack.settings, arguments.rate, arguments.seconds)
    finally:
        stack.stop()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m streaming.bench", description=__doc__)
    scale = float(os.environ.get("BENCH_SCALE", "1"))
    parser.add_argument("--events", type=int, default=round(200_000 * scale), help="in the topic that is folded")
    parser.add_argument("--rate", type=float, default=5_000, help="events a second while freshness is measured")
    parser.add_argument("--seconds", type=float, default=60 * scale, help="how long freshness is measured")
    parser.add_argument("--outage", type=float, default=3_600 * scale, help="seconds of traffic to catch up with")
    parser.add_argument("--only", nargs="+", choices=PARTS + FURTHER, default=PARTS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
