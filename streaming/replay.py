"""`python -m streaming.replay`: dead letters into a file to repair, and the repaired ones back into their topics."""

import argparse
import fcntl
import logging
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kafka.errors import KafkaError

from feature_repo.settings import Settings
from plumbline.log_files import LogNotFoundError
from plumbline.store_client import StoreUnavailable
from streaming import manifests
from streaming.event_topics import EVENT_TOPICS
from streaming.letter_file import FileRefused, Letter, Place, read_file, read_letters, write_file
from streaming.resubmission import resubmit, sent_before

if TYPE_CHECKING:
    from streaming.reconciliation import Reconciliation

FILE = "dead-letters.jsonl"
REASONS_SHOWN = 20


class ReplayRunning(RuntimeError):
    """Another replay sends; two at once could send a letter twice."""


def list_letters(settings: Settings) -> bool:
    """Tell the dead letters by reason, write those that were not sent again to the file, and count every record.

    Returns whether the counts add up.
    """
    log_ends = {topic.name: manifests.committed(topic.log_path(settings)) for topic in EVENT_TOPICS}
    letters = read_letters(settings.kafka_bootstrap_servers)
    replayed = sent_before(settings.kafka_bootstrap_servers, letters.values())
    left = [letter for place, letter in letters.items() if place not in replayed]
    print(f"{len(letters):,} dead letters, {len(replayed):,} of them sent again after repair.")
    for reason, count in _reasons(left).most_common(REASONS_SHOWN):
        print(f"{count:>8,}  {reason}")
    path = settings.data_dir / FILE
    write_file(path, left)
    counted = list(_reconciled(settings, log_ends, letters))
    for counts in counted:
        print(counts)
    if left:
        print(f"\nRepair `value` in {path} (text or a JSON object), then: make replay INPUT={path}")
    return all(counts.adds_up for counts in counted)


def send_repaired(settings: Settings, path: Path) -> bool:
    """Send the repaired lines of a file, and tell what became of each; returns whether none was refused again."""
    with _only_replay(settings.run_dir):
        letters = read_letters(settings.kafka_bootstrap_servers)
        outcome = resubmit(settings.kafka_bootstrap_servers, letters, list(read_file(path)))
    for place, reason in outcome.refused.items():
        print(f"not sent  {place}: {reason}")
    for place, became in outcome.sent.items():
        print(f"sent      {place} as {became}")
    print(
        f"{len(outcome.sent):,} sent, {len(outcome.sent_before):,} were sent before, {len(outcome.unchanged):,} are as they "
        f"were, {len(outcome.refused):,} would be refused again."
    )
    return not outcome.refused


def _reconciled(
    settings: Settings, log_ends: Mapping[str, Mapping[int, int]], letters: Mapping[Place, Letter]
) -> "Iterator[Reconciliation]":
    from feast.errors import PushSourceNotFoundException  # Feast takes seconds to import; sending needs none of it

    from feature_repo import open_store
    from streaming.reconciliation import reconcile

    store = open_store(settings)
    for topic in EVENT_TOPICS:
        try:
            fold = store.fold(topic.name)
            yield reconcile(topic, fold, settings.kafka_bootstrap_servers, log_ends[topic.name], letters.values())
        except (PushSourceNotFoundException, LogNotFoundError):
            print(f"{topic.name}: no applied view over it, or no log yet; nothing to count.")


def _reasons(letters: Iterable[Letter]) -> Counter[str]:
    """Reasons without what differs from letter to letter: quoted text, numbers and times."""
    return Counter(re.sub(r"'[^']*'|\d[\d:T.+Z-]*", "…", letter.error) for letter in letters)


@contextmanager
def _only_replay(run_dir: Path) -> Iterator[None]:
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / "replay.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ReplayRunning("another replay is sending; wait for it.") from None
        yield


def main() -> int:
    """0 when all is well; 1 when a line was refused again or the counts do not add up; 2 when nothing could be asked."""
    parser = argparse.ArgumentParser(prog="python -m streaming.replay", description=__doc__)
    parser.add_argument("--input", default="", help=f"a repaired file, as $DATA_DIR/{FILE}; without it that one is written")
    arguments = parser.parse_args()
    logging.captureWarnings(True)  # Feast calls every view an experiment
    settings = Settings.from_env()
    try:
        if arguments.input:
            return 0 if send_repaired(settings, Path(arguments.input)) else 1
        return 0 if list_letters(settings) else 1
    except (KafkaError, StoreUnavailable, FileRefused, ReplayRunning) as problem:
        print(f"replay: {str(problem) or type(problem).__name__} (see `make status`)", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
