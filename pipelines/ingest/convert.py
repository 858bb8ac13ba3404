"""The mapping applied to one record: the log's values, or the reason why the row is refused."""

import hashlib
import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from pipelines.ingest.amounts import PLAIN_DECIMAL, plain_decimal
from pipelines.ingest.cells import (
    Named,
    Reader,
    amount_reader,
    attribute_reader,
    event_type_reader,
    in_full,
    text_of,
    text_reader,
    time_reader,
)
from pipelines.ingest.instants import CALENDAR_US, checked_instant
from pipelines.ingest.mapping import LabelRule, Mapping
from pipelines.ingest.refusals import LoadRefused, RowRefused
from pipelines.ingest.rules import Rule
from pipelines.ingest.staged_row import COLUMNS, LABEL_TEXT, StagedRow

REQUIRED = ("event_id", "event_timestamp", "created_timestamp", "user_id")
TRUTHS = {"1": 1, "0": 0, "true": 1, "false": 0}
WHOLE_TRUTH = re.compile(r"(?<=^[01])\.0+\Z")
"""What pandas writes behind a 1 or 0 of a column with gaps."""


class Converter:
    """`mapping` compiled for files with this `header`; call it with a record's values.

    attribute_types: declared type of every slowly changing column (attribute_types.declared_type).
    now_us: the time of loading, microseconds since the epoch; events more than a day after it are refused.
    is_text: every value is text or None, as in CSV; columns that stay text are then taken as they are.
    """

    def __init__(
        self, mapping: Mapping, header: Sequence[str], attribute_types: dict[str, str], now_us: int, *, is_text: bool
    ) -> None:
        place = {name: index for index, name in enumerate(header)}
        self.now_us = now_us
        plain = {name for name, rule in mapping.columns.items() if is_text and _is_plain(rule) and name != "event_type"}
        self.plain = [(name, place[mapping.columns[name].columns[0]]) for name in plain]
        self.read = [
            Named(name, self._reader(name, rule, place)) for name, rule in mapping.columns.items() if name not in plain
        ]
        self.required = [name for name in REQUIRED if name in mapping.columns]
        self.scenario = text_reader(mapping.scenario, place) if mapping.scenario else None
        self.label = _LabelReader(mapping.label, place) if mapping.label else None
        self.extras = [
            Named(name, attribute_reader(rule, place, attribute_types[name])) for name, rule in mapping.slowly_changing.items()
        ]

    def __call__(self, values: Sequence[Any]) -> StagedRow:
        """The row for the log; raises RowRefused with the reason, LoadRefused for a label that cannot be read."""
        row: dict[str, Any] = {name: values[place] for name, place in self.plain}
        for column in self.read:
            row[column.name] = column(values)
        for name in self.required:
            if row[name] is None:
                raise RowRefused(f"{name} is empty")
        happened_us, label_text = row["event_timestamp"], None
        if row.get("created_timestamp", happened_us) < happened_us:
            raise RowRefused("created_timestamp is before event_timestamp")
        if self.label:
            row["is_fraud"], row["known_us"], label_text = self.label(values, happened_us)
        if self.scenario:
            row["scenario"] = self.scenario(values)
        extras = [extra(values) for extra in self.extras]
        if "event_id" not in row:
            row["event_id"] = hashed_id(row, extras)
        row.setdefault("created_timestamp", happened_us)
        row[LABEL_TEXT] = label_text
        row.setdefault("event_type", "payment")
        return [*map(row.get, COLUMNS), *extras]

    def _reader(self, name: str, rule: Rule, place: dict[str, int]) -> Reader:
        if rule.kind == "amount":
            return amount_reader(rule, place)
        if rule.kind == "time":
            read = time_reader(rule, place)
            return lambda values: None if (us := read(values)) is None else checked_instant(us, self.now_us)
        return event_type_reader(rule, place) if name == "event_type" else text_reader(rule, place)


def _is_plain(rule: Rule) -> bool:
    return rule.kind == "text" and len(rule.columns) == 1 and rule.values is None


def hashed_id(row: dict[str, Any], extras: Sequence[Any]) -> str:
    """32 hexadecimal digits of the SHA-256 of all mapped values, as they were before any shift."""
    text = json.dumps([sorted(row.items()), list(extras)], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class _LabelReader:
    """Of one record: is_fraud (1, 0 or None where there is no label), the instant when it was known (None where the source
    has none) and, where the mapping says which text means fraud, the text."""

    def __init__(self, rule: LabelRule, place: dict[str, int]) -> None:
        self.rule = rule
        self.place = place[rule.column]
        self.known_at = Named("label", time_reader(rule.known_at, place)) if rule.known_at else None
        written = rule.positive or ""
        is_number = len(written) < 20 and PLAIN_DECIMAL.fullmatch(written)
        self.positive_number = _truth(in_full(Decimal(written)) if is_number else written)
        self.positive_text = _truth(WHOLE_TRUTH.sub("", written))

    def __call__(self, values: Sequence[Any], happened_us: int) -> tuple[int | None, int | None, str | None]:
        value = values[self.place]
        if value is None or value != value:
            return None, None, None
        known_us = self.known_at(values) if self.known_at else happened_us + self.rule.delay_us
        if known_us is not None and known_us < happened_us:
            raise RowRefused("label was known before event_timestamp")
        if known_us is not None and known_us not in CALENDAR_US:
            raise RowRefused("label was known after the year 9999")
        return self._is_fraud(value), known_us, None if self.rule.positive is None else text_of(value)

    def _is_fraud(self, value: Any) -> int:
        """Text is held against `positive` as written, a number of Parquet by its value: 1, 1.0 and 1.00 are one. What is true
        or false is one however it is written: True, true and 1."""
        number = _in_full(value)
        if self.rule.positive is not None:
            if number is not None:
                return int(_truth(number) == self.positive_number)
            return int(_truth(WHOLE_TRUTH.sub("", text_of(value))) == self.positive_text)
        text = text_of(value) if number is None else number
        if text.lower() in TRUTHS:
            return TRUTHS[text.lower()]
        raise LoadRefused(
            f"label column {self.rule.column!r} holds {text!r}, which is none of 1, 0, true, false. "
            "Say in the mapping which value means fraud: `positive: <value>`."
        )


def _truth(text: str) -> str | int:
    """1 or 0 for what is true or false, else the text as it is."""
    return TRUTHS.get(text.lower(), text)


def _in_full(value: Any) -> str | None:
    """A number of Parquet without zeros after its last digit; None for a text, a truth, and what is too large for a label."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not -(10**18) < value < 10**18:
        return None
    return in_full(plain_decimal(value))
