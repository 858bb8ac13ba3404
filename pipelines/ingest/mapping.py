"""A mapping: which column of a source becomes which column of the log, and how; one flat YAML object, read strictly."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feature_repo.event_schema import EVENT_TYPES, TRANSACTION_PAYLOAD
from pipelines.ingest.refusals import LoadRefused
from pipelines.ingest.rules import KINDS, Rule, read_rule, refuse_unknown_keys
from pipelines.ingest.yaml_text import read_yaml_text
from plumbline.durations import microseconds

EVENT_COLUMNS = ("event_id", "event_timestamp", "created_timestamp", *(name for name, _ in TRANSACTION_PAYLOAD))
NEED_A_SOURCE = ("event_timestamp", "user_id")
SLOWLY_CHANGING = ("attributes", "profile", "market")
SWITCHES = ("shift_to_now", "inject_scenarios")
KEYS = (*EVENT_COLUMNS, "label", "scenario", *SLOWLY_CHANGING, *SWITCHES)
LABEL_KEYS = ("column", "delay", "positive", "created_timestamp")
ROW_COLUMNS = ("user_id", "event_timestamp", "created_timestamp", "event_id", "source_partition", "source_offset")
"""Columns that every slowly changing row has, so no attribute may be called like them."""


@dataclass(frozen=True)
class LabelRule:
    """`label:` of a mapping: one label for each kept event whose `column` is not empty.

    delay_us   from the event to the instant the label was known; never negative
    positive   the text that means fraud; None: 1, 0, true and false are read
    known_at   a rule for the instant itself, instead of a delay
    """

    column: str
    delay_us: int
    positive: str | None
    known_at: Rule | None


@dataclass(frozen=True)
class Mapping:
    """A whole mapping. `columns` holds the log's columns that have a rule; `name` says where it came from.

    attributes, profile   slowly changing columns of the user: name -> rule
    market                slowly changing columns that are the same for everybody: name -> rule
    shift_to_now          the newest kept event is moved to the time of loading, everything else with it
    inject_scenarios      simulated frauds are added to the source's own events, which get simulated labels
    """

    name: str
    columns: dict[str, Rule]
    label: LabelRule | None
    scenario: Rule | None
    attributes: dict[str, Rule]
    profile: dict[str, Rule]
    market: dict[str, Rule]
    shift_to_now: bool
    inject_scenarios: bool

    @property
    def slowly_changing(self) -> dict[str, Rule]:
        """The rules of all slowly changing columns, which have different names."""
        return self.attributes | self.profile | self.market

    def source_columns(self) -> list[str]:
        """Every column of the source that some rule names, once, in the order of the mapping."""
        rules = [*self.columns.values(), *self.slowly_changing.values()]
        rules += [rule for rule in (self.scenario, self.label and self.label.known_at) if rule]
        names = [name for rule in rules for name in rule.columns] + ([self.label.column] if self.label else [])
        return list(dict.fromkeys(names))


def read_mapping(path: Path) -> Mapping:
    """The mapping in the YAML file `path`.

    Raises LoadRefused, naming the key, for whatever is not exactly as design section 7 ("Bring your own") says.
    """
    document = read_yaml_text(path)
    where = f"mapping {path}"
    refuse_unknown_keys(document, KEYS, where)
    columns = {
        name: read_rule(document[name], KINDS.get(name, "text"), f"{where}: {name}")
        for name in EVENT_COLUMNS
        if name in document
    }
    mapping = Mapping(
        name=str(path),
        columns=columns,
        label=_label(document["label"], f"{where}: label") if "label" in document else None,
        scenario=read_rule(document["scenario"], "text", f"{where}: scenario") if "scenario" in document else None,
        attributes=_slowly_changing(document, "attributes", where),
        profile=_slowly_changing(document, "profile", where),
        market=_slowly_changing(document, "market", where),
        shift_to_now=_switch(document, "shift_to_now", where),
        inject_scenarios=_switch(document, "inject_scenarios", where),
    )
    _refuse_what_makes_no_sense(mapping, where)
    return mapping


def _refuse_what_makes_no_sense(mapping: Mapping, where: str) -> None:
    for name in NEED_A_SOURCE:
        if name not in mapping.columns or not mapping.columns[name].columns:
            raise LoadRefused(f"{where}: {name} needs a column of the source, for example `{name}: my_column`.")
    if "event_id" in mapping.columns and not mapping.columns["event_id"].columns:
        raise LoadRefused(f"{where}: event_id cannot be constant; leave it out and each row gets the hash of its values.")
    kind = mapping.columns.get("event_type")
    written = [*(kind.values or {}).values(), *([kind.constant] if kind.constant is not None else [])] if kind else []
    for value in filter(None, written):  # an empty one is null, as in every column
        if value not in EVENT_TYPES:
            raise LoadRefused(f"{where}: event_type {value!r} is none of {', '.join(EVENT_TYPES)}.")
    for one, other in itertools.combinations(SLOWLY_CHANGING, 2):
        if both := getattr(mapping, one).keys() & getattr(mapping, other).keys():
            raise LoadRefused(f"{where}: {min(both)!r} stands in {one} and in {other}; give it one place.")
    if mapping.label and mapping.inject_scenarios:
        raise LoadRefused(f"{where}: inject_scenarios simulates labels, so it cannot stand beside `label`.")


def _label(raw: Any, where: str) -> LabelRule:
    given = {"column": raw} if isinstance(raw, str) else raw
    if not isinstance(given, dict):
        raise LoadRefused(f"{where} must be a column's name or {{column:, delay:, positive:}}.")
    refuse_unknown_keys(given, LABEL_KEYS, where)
    if not isinstance(given.get("column"), str) or not given["column"]:
        raise LoadRefused(f"{where} needs `column:`, the source column that says whether it was fraud.")
    if "delay" in given and "created_timestamp" in given:
        raise LoadRefused(f"{where}: delay and created_timestamp both say when the label was known; give one.")
    positive = given.get("positive")
    if positive is not None and (not isinstance(positive, str) or not positive):
        raise LoadRefused(f"{where}: positive must be the value that means fraud, as it stands in the source.")
    known_at = (
        read_rule(given["created_timestamp"], "time", f"{where}: created_timestamp") if "created_timestamp" in given else None
    )
    return LabelRule(given["column"], _delay_us(given.get("delay", "0d"), where), positive, known_at)


def _delay_us(text: Any, where: str) -> int:
    try:
        return 0 if text == "0" else microseconds(text)
    except (ValueError, TypeError):
        raise LoadRefused(
            f"{where}: delay {text!r} is not a duration; write a whole number and a unit, `7d` or `12h`."
        ) from None


def _slowly_changing(document: dict[str, Any], key: str, where: str) -> dict[str, Rule]:
    rules = document.get(key, {})
    if not isinstance(rules, dict):
        raise LoadRefused(f"{where}: {key} must be an object of `name: rule` lines.")
    for name in rules:
        if name in ROW_COLUMNS:
            raise LoadRefused(f"{where}: {key}: every row has its own {name!r}; give this column another name.")
        if not name.isidentifier() or not name.isascii() or name.startswith("_") or "__" in name:
            raise LoadRefused(
                f"{where}: {key}: {name!r} cannot be a column's name; use letters, digits and single underscores."
            )
    return {name: read_rule(rule, "attribute", f"{where}: {key}: {name}") for name, rule in rules.items()}


def _switch(document: dict[str, Any], key: str, where: str) -> bool:
    value = document.get(key, "false")
    if not isinstance(value, str) or value.lower() not in ("true", "false"):
        raise LoadRefused(f"{where}: {key} is {value!r}; write true or false.")
    return value.lower() == "true"
