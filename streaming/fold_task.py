"""What a Spark task does with its share of a topic: the fold of one partition's records, on whichever machine it runs."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc
from kafka.errors import KafkaError

from plumbline import Fold, PositionsLost, StoreUnavailable
from plumbline.fold import FoldCounts
from streaming.archive_files import records_by_partition
from streaming.dead_letters import DeadLetters, letters_of
from streaming.door import Record, admit
from streaming.event_topics import EVENT_TOPICS

ATTEMPTS = 20
"""How often a batch is folded again because another writer moved the partition's positions in between."""

COUNTS = (
    "last_offset", "applied", "duplicates", "too_late", "replayed", "unreadable",
    "refused", "late_letters", "oldest_created_us",
)  # fmt: skip
FOLDED = pa.schema(
    [("partition", pa.int32()), *((name, pa.int64()) for name in COUNTS), ("trouble", pa.string()), ("said", pa.string())]
)
FOLDED_SPARK = ", ".join(["partition int", *(f"{name} bigint" for name in COUNTS), "trouble string", "said string"])
STORE, KAFKA, POSITIONS = "store", "kafka", "positions"
"""What stopped a task: the store or the broker was away, or the store's positions are behind what the task was given."""


@dataclass(frozen=True)
class Folded:
    """A row of FOLDED: what became of some records of a partition, up to last_offset; or the trouble that ended the task.

    late_letters       dead letters of events that came too late
    oldest_created_us  append time of the oldest event, microseconds; None without events
    """

    partition: int
    last_offset: int
    applied: int = 0
    duplicates: int = 0
    too_late: int = 0
    replayed: int = 0
    unreadable: int = 0
    refused: int = 0
    late_letters: int = 0
    oldest_created_us: int | None = None
    trouble: str | None = None
    said: str | None = None


def fold_records(
    batches: Iterable[pa.RecordBatch], topic: str, fold: Fold, bootstrap_servers: str, expected: Mapping[int, int]
) -> Iterator[pa.RecordBatch]:
    """Fold the records of a task into the online store; yields a row of FOLDED for each batch, the last one with the trouble.

    batches   partition, offset, timestamp (UTC), key and value of Spark's Kafka source; a partition's offsets ascend
    fold      of the topic, as the driver unpickled it here: with a connection of its own
    expected  partition -> what the store must have reached at least: one after its position. A store that is behind lost it.

    The same records once more change nothing: the positions in the store say what was applied. Dead letters are
    acknowledged before the positions move, so a task that is repeated may write one again, never none.
    """
    with contextlib.ExitStack() as opened:
        letters = cache(lambda: opened.enter_context(contextlib.closing(DeadLetters(bootstrap_servers))))
        reached = dict(expected)
        for batch in batches:
            for partition, records in records_by_partition(batch, {}).items():
                folded = _attempted(partition, records, topic, fold, letters, reached.get(partition, 0))
                yield pa.RecordBatch.from_pylist([asdict(folded)], FOLDED)
                if folded.trouble:
                    return
                reached[partition] = folded.last_offset + 1


def _attempted(
    partition: int, records: list[Record], topic: str, fold: Fold, letters: Callable[[], DeadLetters], expected: int
) -> Folded:
    try:
        return _folded(partition, records, topic, fold, letters, expected)
    except PositionsLost as error:
        trouble, said = POSITIONS, str(error)
    except StoreUnavailable as error:
        trouble, said = STORE, str(error)
    except KafkaError as error:
        trouble, said = KAFKA, repr(error)
    return Folded(partition, expected - 1, trouble=trouble, said=said)


def _folded(
    partition: int, records: list[Record], topic: str, fold: Fold, letters: Callable[[], DeadLetters], expected: int
) -> Folded:
    event_topic = next(each for each in EVENT_TOPICS if each.name == topic)
    events, refused = admit(event_topic, records, fold.source.allowed_lateness_us)
    dead = letters_of(event_topic, records, refused, events)
    if dead:
        letters().write(dead)
    last = records[-1].offset
    counts = _apply(fold, partition, events, last, expected)
    oldest = pc.min(events["created_timestamp"].cast(pa.int64())).as_py()
    return Folded(
        partition, last, counts.applied, counts.duplicates, counts.too_late, counts.replayed, counts.unreadable,
        len(refused), len(dead) - len(refused), oldest,
    )  # fmt: skip


def _apply(fold: Fold, partition: int, events: pa.Table, last: int, expected: int) -> FoldCounts:
    """Apply from wherever the store stands; raises PositionsLost when that is before `expected`: records would be left out."""
    for _ in range(ATTEMPTS):
        reached = fold.resume([partition])[partition] or 0
        if reached < expected:
            break
        with contextlib.suppress(PositionsLost):
            return fold.apply(events, {partition: last})
    raise PositionsLost(
        f"partition {partition} is folded up to {reached}, where {expected} was expected or a second fold runs."
    )
