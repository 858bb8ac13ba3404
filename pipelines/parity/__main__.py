"""`python -m pipelines.parity`: is every logged answer what the event log says it must be?"""

import argparse
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kafka.errors import KafkaError
from prometheus_client import CollectorRegistry

from feature_repo import metrics_page
from feature_repo.settings import Settings
from pipelines.parity.answers import Answers
from pipelines.parity.lag import effect_of_lag
from pipelines.parity.parity_metrics import ParityMetrics
from pipelines.parity.tally import Tally
from pipelines.parity.topic_rows import TopicRows
from plumbline import FeatureStore
from plumbline.log_files import LogNotFoundError

AT_ONCE = 2_000
PROGRESS_EVERY_S = 5.0
LOOK_EVERY_S = 1.0

Say = Callable[[str], None]


class Parity:
    """Checks what is logged, call by call, and keeps the tally."""

    def __init__(self, settings: Settings, say: Say) -> None:
        """Raises kafka.errors.KafkaError when no broker answers."""
        self.tally = Tally()
        self._settings, self._say = settings, say
        self._answers = Answers(settings)
        self._said_at = time.monotonic()

    def check(self) -> None:
        """Check the answers that are new or pending, each with the definitions that are applied now."""
        from feature_repo import open_store  # Feast, once imported, decides how prometheus_client keeps its values

        store = open_store(self._settings)
        batch: list[dict[str, Any]] = []
        for answers in self._answers.new():
            batch += answers
            while len(batch) >= AT_ONCE:
                self._check(store, batch[:AT_ONCE])
                del batch[:AT_ONCE]
        self._check(store, batch)
        self.tally.unreadable = self._answers.unreadable
        self._write_report()

    def compare_with_training(self) -> None:
        """The effect of lag on the answers that were compared last, for the report; none where a sum leaves int64."""
        from feature_repo import open_store

        with suppress(OverflowError):
            self.tally.effect_of_lag = effect_of_lag(open_store(self._settings), list(self.tally.latest))
        self._write_report()

    def close(self) -> None:
        self._answers.close()

    def _check(self, store: FeatureStore, answers: list[dict[str, Any]]) -> None:
        waiting = [*self.tally.pending, *answers]
        entities = {str(value) for answer in waiting for key, value in answer["entity_row"].items() if key.endswith("_id")}
        shown = len(self.tally.examples)
        self.tally.check(store, answers, TopicRows(self._settings, entities).unlogged)
        for mismatch in self.tally.examples[shown:]:
            self._say(f"MISMATCH {mismatch}")
        if time.monotonic() - self._said_at >= PROGRESS_EVERY_S:
            self._say(f"  {self.tally.said()}")
            self._said_at = time.monotonic()

    def _write_report(self) -> None:
        path = self._settings.reports_path / "parity.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(self.tally.report(), indent=1))
        os.replace(unfinished, path)


def once(parity: Parity, within_s: float, say: Say) -> int:
    """Check what is logged by now; answers ahead of the log are asked about again for `within_s` seconds.

    Returns the exit code: 1 when a value differs.
    """
    deadline = time.monotonic() + within_s
    parity.check()
    if parity.tally.pending:
        say(f"  {len(parity.tally.pending):,} answers wait for the archive, {within_s:.0f} s at most ...")
    while parity.tally.pending and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_S)
        parity.check()
    if parity.tally.latest:
        parity.compare_with_training()
    _tell(parity.tally, say)
    return 1 if parity.tally.different else 0


def again_and_again(parity: Parity, every_s: float, host: str, port: int, say: Say) -> None:
    """Check every `every_s` seconds until interrupted, and serve the totals to Prometheus. Raises PortTaken."""
    metrics = ParityMetrics(parity.tally)
    registry = CollectorRegistry()
    registry.register(metrics)
    metrics_page.serve(registry, host, port, "PARITY_METRICS_PORT")
    say(f"parity: every {every_s:g} s, metrics at http://{host}:{port}/metrics")
    while True:
        try:
            parity.check()
            metrics.checked_at_s = time.time()
            say(f"parity: {parity.tally.said()}")
        except (KafkaError, LogNotFoundError) as error:
            say(f"parity: not checked now, tried again in {every_s:g} s: {error}")
        time.sleep(every_s)


def _tell(tally: Tally, say: Say) -> None:
    if tally.pending:
        say(f"pending: {tally.waits_for}")
    for reason, count in tally.unverifiable.most_common():
        say(f"unverifiable, {count:,} answers: {reason}")
    if tally.unreadable:
        say(f"{tally.unreadable:,} records of the topic are no answers.")
    for cause, count in tally.mismatches.items():
        if count:
            say(f"{count:,} values differ: {cause}")
    if tally.effect_of_lag is not None:
        say(f"effect of lag: {tally.effect_of_lag}")
    say(f"parity: {tally.said()}")


def _say(sentence: str) -> None:
    print(sentence, flush=True)


def main() -> int:
    """0 when no value differs, 1 when one does, 2 when nothing could be asked."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.parity", description=__doc__)
    parser.add_argument("--every", type=float, default=0, help="check again every so many seconds, with metrics")
    parser.add_argument("--within", type=float, default=60, help="seconds to wait for the archive (default %(default)s)")
    arguments = parser.parse_args()
    logging.captureWarnings(True)  # Feast calls every view an experiment
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = Settings.from_env()
    try:
        parity = Parity(settings, _say)
        if not arguments.every:
            return once(parity, arguments.within, _say)
        again_and_again(parity, arguments.every, settings.metrics_host, settings.parity_metrics_port, _say)
    except (KafkaError, LogNotFoundError, metrics_page.PortTaken) as problem:
        print(f"parity: {str(problem) or type(problem).__name__}. See `make status`.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
