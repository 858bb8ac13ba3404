"""Dead letters as lines of a file that a person repairs: JSON, one letter a line, its place, its reason and its value."""

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from streaming.event_topics import DEAD_LETTER, EVENT_TOPICS
from streaming.topic_records import records

TOO_LATE = "too late"
TOPICS = frozenset(topic.name for topic in EVENT_TOPICS)


class Place(NamedTuple):
    """Where a record stands: it is told apart by this from every other."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True)
class Letter:
    """A dead letter: the place, key and value of its record (None as they were), its reason, and when it was written."""

    place: Place
    key: bytes | None
    value: bytes | None
    error: str
    appended_ms: int

    @property
    def is_too_late(self) -> bool:
        """The record was an event, and is in the log; the others never were."""
        return self.error.startswith(TOO_LATE)


class FileRefused(ValueError):
    """A file of repaired letters that cannot be read; the message names the line."""


def read_letters(bootstrap_servers: str) -> dict[Place, Letter]:
    """Every dead letter once, in the order they were written; one that a crash repeated is the same."""
    letters: dict[Place, Letter] = {}
    for record in records(bootstrap_servers, DEAD_LETTER):
        headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
        try:
            place = Place(headers["source_topic"], int(headers["source_partition"]), int(headers["source_offset"]))
            letter = Letter(place, record.key, record.value, headers["error"], record.timestamp)
        except (KeyError, ValueError):
            continue  # somebody else wrote it: it stands for no record
        if place.topic in TOPICS:
            letters.setdefault(place, letter)
    return letters


def write_file(path: Path, letters: Iterable[Letter]) -> None:
    """Write the letters; a file that is there (with somebody's repairs) is kept as <name>.previous<suffix>."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}")
    with unfinished.open("w", encoding="utf-8") as file:
        for letter in letters:
            file.write(json.dumps(_line(letter), ensure_ascii=False) + "\n")
    if path.exists():
        path.replace(path.with_name(f"{path.stem}.previous{path.suffix}"))
    unfinished.replace(path)


def read_file(path: Path) -> Iterator[tuple[Place, bytes | None]]:
    """Place and value of each line: `value` is the message, as text or as a JSON object. Raises FileRefused."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FileRefused(f"{path} cannot be read: {error}") from None
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                content = json.loads(line)
                place = Place(str(content["topic"]), int(content["partition"]), int(content["offset"]))
                yield place, _value(content)
            except (ValueError, TypeError, KeyError) as error:
                raise FileRefused(f"{path}, line {number} is no dead letter: {error!r}. Keep what you do not repair.") from None


def _line(letter: Letter) -> dict[str, Any]:
    line: dict[str, Any] = {**letter.place._asdict(), "error": letter.error}
    try:
        return line | {"value": None if letter.value is None else letter.value.decode()}
    except UnicodeDecodeError:
        return line | {"value_base64": base64.b64encode(letter.value or b"").decode()}


def _value(content: dict[str, Any]) -> bytes | None:
    if "value" not in content:
        return base64.b64decode(content["value_base64"], validate=True)
    value = content["value"]
    if value is None:
        return None
    return value.encode(errors="surrogatepass") if isinstance(value, str) else json.dumps(value, ensure_ascii=False).encode()
