"""After the chaos: the store, the logs and the dead letters against what is in the topics."""

import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow.dataset as pads

from feature_repo.settings import Settings
from plumbline import Answer, FeatureStore
from plumbline.instant import to_microseconds
from streaming.chaos.definition import Entities, differing, features_of
from streaming.chaos.truth import ACCEPTED, DUPLICATE, REFUSED, TOO_LATE, Topic, read_records
from streaming.chaos.witness import Seen
from streaming.event_topics import DEAD_LETTER

AHEAD = tuple(timedelta(hours=hours) for hours in (0, 0.3, 2, 30, 24 * 8))
BATCH = 500
SHOWN = 5
COUNTED_BY = {"transactions": ("user_activity", "event_id_count_30d")}
"""A feature that counts every accepted event of a log once, ..."""
COUNTED_AHEAD = AHEAD[1]
"""... as of the first instant that no event is dated after."""


@dataclass
class Findings:
    """What was wrong, the first few of each kind in words, and all of them in numbers."""

    count: Counter[str] = field(default_factory=Counter)
    shown: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, found: Iterable[str]) -> None:
        for text in found:
            self.count[kind] += 1
            if len(self.shown[kind]) < SHOWN:
                self.shown[kind].append(text)


def entities_by_view(store: FeatureStore, topics: Mapping[str, Topic]) -> dict[str, Entities]:
    """The accepted events of each windowed view's log, by its entities."""
    views = store.list_stream_feature_views()
    logs = {view.name: topics[view.stream_source.name].accepted for view in views}
    return {view.name: Entities(features_of(view), view.join_keys, logs[view.name]) for view in views}


def check_values(
    store: FeatureStore, truth: Mapping[str, Entities], findings: Findings, tell: Callable[[str], None]
) -> tuple[int, dict[str, int]]:
    """Every entity of every view at several instants; how many values, and the events that the store counts by log."""
    compared, counted = 0, Counter[str]()
    now = datetime.now(UTC)
    for name, entities in truth.items():
        listed = entities.entities()
        features = [f"{name}:{feature.name}" for feature in entities.features]
        for ahead in AHEAD:
            at = now + ahead
            for begin in range(0, len(listed), BATCH):
                rows = listed[begin : begin + BATCH]
                for entity, answer in zip(rows, store.read_online(features, rows, at), strict=True):
                    expected = entities.values(entity, to_microseconds(at))
                    wrong = differing(entities.features, answer.features, expected, f"{name}__")
                    findings.add("values differ", (f"{entity} at {at}: {text}" for text in wrong))
                    compared += len(expected)
                    counted.update(_counted(name, answer) if ahead == COUNTED_AHEAD else {})
        tell(f"{name}: {len(listed):,} entities at {len(AHEAD)} instants")
    return compared, dict(counted)


def check_seen(seen: Sequence[Seen], truth: Mapping[str, Entities], findings: Findings) -> int:
    """Every answer of the run against the definition over the log cut at its positions; how many values."""
    compared = 0
    for one in seen:
        entities = truth[one.view]
        positions = {int(p): int(end) for p, end in one.answer.positions[one.view].items() if str(p).isdigit()}
        at_us = to_microseconds(one.answer.as_of)
        expected = entities.values(one.entity, at_us, positions)
        wrong = differing(entities.features, one.answer.features, expected, f"{one.view}__")
        findings.add("answers differ", (f"{one.entity} at {one.answer.as_of}, {positions}: {text}" for text in wrong))
        compared += len(expected)
    return compared


def check_log(settings: Settings, topic: Topic, findings: Findings) -> int:
    """The archived rows against the topic's records: each event once, as it was sent; how many rows."""
    rows = _logged(settings, topic)
    expected = topic.records[topic.records["fate"] != REFUSED]
    both = expected.merge(rows, on=["source_partition", "source_offset"], how="outer", suffixes=("", "_logged"), indicator=True)
    name = topic.topic.name
    places = rows[["source_partition", "source_offset"]]
    findings.add("in the log twice", (f"{name} {tuple(row)}" for row in places[places.duplicated()].itertuples(index=False)))
    findings.add("missing in the log", (f"{name} {_place(row)}" for row in _rows(both, both["_merge"] == "left_only")))
    findings.add("in the log and not sent", (f"{name} {_place(row)}" for row in _rows(both, both["_merge"] == "right_only")))
    matched = both[both["_merge"] == "both"]
    is_same = matched["event_id"].eq(matched["event_id_logged"]) & matched["user_id"].eq(matched["user_id_logged"])
    is_same &= matched["amount_cents"].fillna(-1).eq(matched["amount_cents_logged"].fillna(-1))
    is_same &= matched["said_us"].eq(matched["said_us_logged"])
    is_same &= matched["created_timestamp"].eq(matched["created_timestamp_logged"])
    is_same &= matched["too_late"].eq(matched["fate"].eq(TOO_LATE))
    findings.add("logged otherwise", (f"{name} {_place(row)}" for row in _rows(matched, ~is_same)))
    return len(rows)


def check_dead_letters(settings: Settings, topics: Mapping[str, Topic], findings: Findings) -> dict[str, int]:
    """The dead letters, each place once, against the records that are refused or too late; how many of each."""
    found: dict[tuple[str, int, int], int] = {}
    for letter in read_records(settings.kafka_bootstrap_servers, DEAD_LETTER):
        headers = dict(letter.headers)
        place = (headers["source_topic"].decode(), int(headers["source_partition"]), int(headers["source_offset"]))
        found[place] = zlib.crc32(letter.value or b"")
    expected = {
        (name, int(row.source_partition), int(row.source_offset)): int(row.checksum)
        for name, topic in topics.items()
        for row in topic.records[topic.records["fate"].isin([REFUSED, TOO_LATE])].itertuples()
    }
    findings.add("missing among the dead letters", (str(place) for place in expected if place not in found))
    findings.add("a dead letter though good", (str(place) for place in found if place not in expected))
    changed = (str(place) for place, checksum in expected.items() if found.get(place, checksum) != checksum)
    findings.add("a dead letter with other bytes", changed)
    return {"dead letters": len(found)}


def check_sent(acknowledged: Iterable[tuple[str, int, int, int]], topics: Mapping[str, Topic], findings: Findings) -> None:
    """What the broker acknowledged must be in the topic where it said."""
    there = {
        name: dict(
            zip(
                zip(topic.records["source_partition"].tolist(), topic.records["source_offset"].tolist(), strict=True),
                topic.records["checksum"].tolist(), strict=True,
            )
        )
        for name, topic in topics.items()
    }  # fmt: skip
    lost = (
        f"{topic} {partition} {offset}"
        for topic, partition, offset, checksum in acknowledged
        if there[topic].get((partition, offset)) != checksum
    )
    findings.add("acknowledged and not in the topic", lost)


def check_counts(topics: Mapping[str, Topic], counted: Mapping[str, int], findings: Findings) -> dict[str, dict[str, int]]:
    """produced = folded + duplicates + too late + dead, by log; folded is what the store counts where it can be asked."""
    totals = {}
    for name, topic in topics.items():
        parts = {fate: topic.count(fate) for fate in (ACCEPTED, DUPLICATE, TOO_LATE, REFUSED)}
        folded = counted.get(name, parts[ACCEPTED])
        produced = len(topic.records)
        totals[name] = {
            "produced": produced, "folded": folded, "duplicates": parts[DUPLICATE], "too late": parts[TOO_LATE],
            "dead": parts[REFUSED],
        }  # fmt: skip
        missing = parts[ACCEPTED] - folded
        if missing:
            kind = "events lost" if missing > 0 else "events counted twice"
            findings.add(kind, [f"{name}: the store counts {folded:,} of {parts[ACCEPTED]:,} events"] * abs(missing))
    return totals


def _counted(view: str, answer: Answer) -> dict[str, int]:
    """How many events of its log an answer counts, where its view counts them."""
    return {log: int(answer.features[f"{view}__{name}"]) for log, (of, name) in COUNTED_BY.items() if of == view}


def _logged(settings: Settings, topic: Topic) -> pd.DataFrame:
    log = topic.topic.log_path(settings)
    files = sorted(str(path) for path in log.glob("event_date=*/archive-*.parquet"))
    names = ["source_partition", "source_offset", "event_id", "user_id", "amount_cents", "event_timestamp", "created_timestamp"]
    dataset = pads.dataset(files, schema=topic.topic.schema, format="parquet")
    rows = dataset.to_table(columns=[*names, "too_late"]).to_pandas(integer_object_nulls=True)
    rows["amount_cents"] = pd.array(rows["amount_cents"], dtype="Int64")
    for column in ("event_timestamp", "created_timestamp"):
        rows[column] = rows[column].astype("datetime64[us, UTC]").astype("int64")
    return rows.rename(columns={"event_timestamp": "said_us"})


def _rows(table: pd.DataFrame, chosen: Any) -> Iterable[Any]:
    return table[chosen].itertuples()


def _place(row: Any) -> str:
    return f"{row.source_partition} {row.source_offset} {row.event_id}"
