"""`python -m streaming.chaos`: faults under load against a stack of its own, then everything compared; 0 when all is right."""

import argparse
import json
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from feature_repo.settings import Settings
from streaming.chaos.sending import Sending
from streaming.chaos.storm import Storm
from streaming.chaos.traffic import EVENTS_A_USER, Traffic
from streaming.chaos.victims import NotUp, Victims
from streaming.event_topics import EVENT_TOPICS

SHOWN_EVERY_S = 5.0
LOOK_EVERY_S = 1.0
SCENES_FROM = 0.8
"""The share of the sending after which the storm is over and the scenes begin."""


class History:
    """What happened and when, printed as it happens and kept for the report."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.lines: list[str] = []

    def tell(self, text: str) -> None:
        self.lines.append(f"{time.monotonic() - self._began:7.1f} s  {text}")
        print(self.lines[-1], flush=True)

    def progress(self, text: str) -> None:
        """A line that the next one overwrites, on a terminal only."""
        if sys.stdout.isatty():
            print(f"\r{time.monotonic() - self._began:7.1f} s  {text:<90}", end="\r", flush=True)


def main() -> int:
    """0 when no event was lost, counted twice or stuck and every value is its definition's; else 1."""
    arguments = _arguments()
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # it says a lot about a broker that is killed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is stopped all the same
    outer = Settings.from_env()
    history = History()
    victims = Victims(outer.data_dir / "chaos", arguments.folds)
    history.tell(f"seed {arguments.seed}: {arguments.events:,} events in {arguments.seconds:g} s, {arguments.folds} folds")
    try:
        report = _run(victims, arguments, history)
    except NotUp as problem:
        print(f"chaos: {problem}", file=sys.stderr)
        return 1
    finally:
        victims.stop()
    path = outer.reports_path / "chaos.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report | {"history": history.lines}, indent=2) + "\n", encoding="utf-8")
    _print_report(report, path)
    return 0 if report["passed"] else 1


def _run(victims: Victims, arguments: argparse.Namespace, history: History) -> dict[str, Any]:
    victims.bring_up()
    history.tell("broker, store, folds and archive are up")
    from feature_repo import open_store
    from streaming.chaos.scenes import Scenes
    from streaming.chaos.witness import Witness

    store = open_store(victims.settings)
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="feast")  # stream views are "experimental" to it
    sending = Sending(
        victims.settings.kafka_bootstrap_servers, Traffic(arguments.seed, arguments.events), arguments.events, arguments.seconds
    )
    witness = Witness(store, arguments.seed, max(20, arguments.events // EVENTS_A_USER))
    storm = Storm(victims, arguments.seed, history.tell)
    sending.start()
    witness.start()
    while arguments.storm and (sending.share_done < SCENES_FROM or storm.is_owed):
        storm.next(sending.share_done)
        history.progress(f"{sending.sent:,} sent, {len(witness.seen):,} answers kept")
    Scenes(victims, store, history.tell).play()
    sending.finish()
    history.tell(f"sent {sending.sent:,} records; {sending.unsure:,} of them were never acknowledged")
    victims.heal_wholly()
    history.tell("everything is up again; waiting until all is folded and archived")
    stuck = _await_all(store, victims.settings, arguments.patience, history)
    witness.stop()
    return _judge(store, victims.settings, sending, witness, stuck, arguments, history)


def _await_all(store: Any, settings: Settings, patience_s: float, history: History) -> list[str]:
    """Wait until positions and manifests are at the topics' ends; what is not after `patience_s` seconds without progress."""
    from streaming.chaos.ends import behind

    left, moved_at, shown_at = behind(store, settings), time.monotonic(), 0.0
    while left and time.monotonic() - moved_at < patience_s:
        time.sleep(LOOK_EVERY_S)
        now = behind(store, settings)
        if now != left:
            left, moved_at = now, time.monotonic()
        if time.monotonic() - shown_at > SHOWN_EVERY_S:
            shown_at = time.monotonic()
            history.progress(f"{sum(left.values()):,} records behind in {len(left)} places")
    history.tell("all positions are at the topics' ends" if not left else f"stuck: {left}")
    return sorted(left)


def _judge(
    store: Any, settings: Settings, sending: Sending, witness: Any, stuck: list[str], arguments: argparse.Namespace,
    history: History,
) -> dict[str, Any]:  # fmt: skip
    from streaming.chaos import verdict
    from streaming.chaos.truth import read_topic

    findings = verdict.Findings()
    findings.add("stuck partitions", stuck)
    topics = {topic.name: read_topic(settings.kafka_bootstrap_servers, topic) for topic in EVENT_TOPICS}
    history.tell(f"read {sum(len(topic.records) for topic in topics.values()):,} records back and judged each")
    verdict.check_sent(sending.acknowledged, topics, findings)
    truth = verdict.entities_by_view(store, topics)
    values, counted = verdict.check_values(store, truth, findings, history.tell)
    answers = verdict.check_seen(witness.seen, truth, findings)
    history.tell(f"{len(witness.seen):,} answers of the run recomputed at their positions")
    logged = {name: verdict.check_log(settings, topic, findings) for name, topic in topics.items()}
    letters = verdict.check_dead_letters(settings, topics, findings)
    return {
        "at": datetime.now(UTC).isoformat(),
        "seed": arguments.seed,
        "events": arguments.events,
        "folds": arguments.folds,
        "counts": verdict.check_counts(topics, counted, findings),
        "values compared": values,
        "answers of the run compared": answers,
        "rows in the logs": logged,
        **letters,
        "reads without an answer": dict(witness.unanswered),
        "findings": dict(findings.count),
        "examples": dict(findings.shown),
        "passed": not findings.count,
    }


def _print_report(report: dict[str, Any], path: Path) -> None:
    for name, counts in report["counts"].items():
        parts = " + ".join(f"{number:,} {what}" for what, number in counts.items() if what != "produced")
        print(f"{name}: {counts['produced']:,} produced = {parts}")
    print(
        f"{report['values compared']:,} values and {report['answers of the run compared']:,} of the run compared; "
        f"log rows {report['rows in the logs']}; {report['dead letters']:,} dead letters"
    )
    for kind, number in report["findings"].items():
        print(f"{number:,} {kind}: {'; '.join(report['examples'][kind])}")
    print(f"{'PASSED' if report['passed'] else 'FAILED'}; the report is {path}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m streaming.chaos",
        description="Kill, pause and empty the parts of a stack of its own under load, then compare every value with its "
        "definition. Each option's default is the variable in brackets, so `make chaos CHAOS_EVENTS=20000` works.",
    )
    _option(parser, "events", int, "1000000", "records to send")
    _option(parser, "seconds", float, "300", "over how long they are sent")
    _option(parser, "seed", int, "1", "draws the same traffic and the same faults again")
    _option(parser, "folds", int, "3", "fold processes that share the partitions")
    _option(parser, "storm", int, "1", "0 leaves out the drawn faults and plays the scenes alone")
    _option(parser, "patience", float, "120", "seconds without any progress after which a partition is stuck")
    return parser.parse_args()


def _option(parser: argparse.ArgumentParser, name: str, kind: Callable[[str], Any], default: str, text: str) -> None:
    variable = f"CHAOS_{name.upper()}"
    parser.add_argument(f"--{name}", type=kind, default=kind(os.environ.get(variable) or default), help=f"{text} [{variable}]")


if __name__ == "__main__":
    sys.exit(main())
