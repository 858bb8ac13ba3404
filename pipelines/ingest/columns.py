"""What became of each mapped column: how often it was filled, how many values it has, and why rows were refused for it."""

from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as sf

from pipelines.ingest.instants import iso_text
from pipelines.ingest.mapping import Mapping
from pipelines.ingest.rules import Rule

TIMES = ("event_timestamp", "created_timestamp")
RANGED = (*TIMES, "amount_cents")


@dataclass(frozen=True)
class MappedColumn:
    """A column that the mapping gives: its name in the report, the staged column that holds it, where it comes from, and
    the name that reasons begin with."""

    name: str
    staged: str
    source: str
    spoken: str


def mapped_columns(mapping: Mapping) -> list[MappedColumn]:
    """In the order of the mapping: the log's columns, label, scenario, then profile, attributes and market."""
    found = [MappedColumn(name, name, _source(rule), name) for name, rule in mapping.columns.items()]
    if mapping.label:
        found.append(MappedColumn("label", "is_fraud", mapping.label.column, "label"))
    if mapping.scenario:
        found.append(MappedColumn("scenario", "scenario", _source(mapping.scenario), "scenario"))
    for group, rules in (("profile", mapping.profile), ("attributes", mapping.attributes), ("market", mapping.market)):
        found += [MappedColumn(f"{group}.{name}", f"extra_{name}", _source(rule), name) for name, rule in rules.items()]
    return found


def measure(kept: DataFrame, mapping: Mapping) -> Row:
    """One row about the kept rows: the ends of their time, labels without an instant, and filled, distinct and ends of each
    mapped column."""
    ends = [sf.min("event_timestamp").alias("oldest"), sf.max("event_timestamp").alias("newest")]
    checks = [check for column in mapped_columns(mapping) for check in _checks(column.staged)]
    undated = sf.count_if(sf.expr("is_fraud is not null and known_us is null")).alias("undated")
    found = kept.agg(*ends, sf.count(sf.lit(1)).alias("rows"), undated, *checks).first()
    assert found is not None  # an aggregate without groups has exactly one row
    return found


def columns_report(mapping: Mapping, found: Row, by_reason: MappingType[str, int]) -> dict[str, dict[str, Any]]:
    """Column -> from (its source), filled, empty and distinct (approximate) among kept rows, smallest and largest
    (times in RFC 3339, amounts in cents; None for text), refused: reason -> rows."""
    return {column.name: _column_report(column, found, by_reason) for column in mapped_columns(mapping)}


def _column_report(column: MappedColumn, found: Row, by_reason: MappingType[str, int]) -> dict[str, Any]:
    filled, begin = found[f"{column.staged}_filled"], f"{column.spoken} "
    smallest, largest = _ends(column.staged, found)
    return {
        "from": column.source,
        "filled": filled,
        "empty": found["rows"] - filled,
        "distinct": found[f"{column.staged}_distinct"],
        "smallest": smallest,
        "largest": largest,
        "refused": {reason.removeprefix(begin): rows for reason, rows in by_reason.items() if reason.startswith(begin)},
    }


def told(columns: MappingType[str, MappingType[str, Any]]) -> list[str]:
    """The report as lines of a table, for the terminal; distinct~ is approximate."""
    rows = [("column", "from", "filled", "empty", "distinct~", "refused", "smallest .. largest")]
    for name, column in columns.items():
        numbers = (column["filled"], column["empty"], column["distinct"], sum(column["refused"].values()))
        ends = "" if column["smallest"] is None else f"{column['smallest']} .. {column['largest']}"
        rows.append((name, column["from"], *map(str, numbers), ends))
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _checks(staged: str) -> list[Column]:
    checks = [sf.count(staged).alias(f"{staged}_filled"), sf.approx_count_distinct(staged).alias(f"{staged}_distinct")]
    if staged in RANGED:
        checks += [sf.min(staged).alias(f"{staged}_smallest"), sf.max(staged).alias(f"{staged}_largest")]
    return checks


def _ends(staged: str, found: Row) -> tuple[Any, Any]:
    if staged not in RANGED:
        return None, None
    ends = (found[f"{staged}_smallest"], found[f"{staged}_largest"])
    smallest, largest = (iso_text(end) if staged in TIMES and end is not None else end for end in ends)
    return smallest, largest


def _source(rule: Rule) -> str:
    if not rule.columns:
        return f"constant {rule.constant}"
    source = " or ".join(rule.columns)
    return f"{source} x {rule.scale}" if rule.scale is not None else source
