"""How the values of a label column were read where the mapping says which one means fraud: every other one means honest."""

from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from pipelines.ingest.staged_row import LABEL_TEXT

MOST_TEXTS = 1_000
SHOWN = 6
NOTHING_KNOWN = ("", "?", "-", "na", "n/a", "<na>", "nan", "nat", "none", "nil", "null", "undefined", "unknown", "pending")


def label_texts(kept: DataFrame) -> list[dict[str, Any]]:
    """The texts of the kept rows' labels, commonest first, at most MOST_TEXTS: text, rows, is_fraud (1 or 0)."""
    texts = (
        kept.where(sf.isnotnull(LABEL_TEXT))
        .groupBy(sf.col(LABEL_TEXT).alias("text"), "is_fraud")
        .agg(sf.count("*").alias("rows"))
    )
    found = texts.orderBy(sf.desc("rows"), "text").limit(MOST_TEXTS).collect()
    return [{"text": row["text"], "rows": row["rows"], "is_fraud": row["is_fraud"]} for row in found]


def told(texts: list[dict[str, Any]]) -> list[str]:
    """What each was read as, for the terminal; nothing where the mapping needed no `positive`."""
    lines = []
    for meaning, is_fraud in (("fraud", 1), ("honest", 0)):
        alike = [f"{each['text']!r} ({each['rows']})" for each in texts if each["is_fraud"] == is_fraud]
        if alike:
            more = f" and {len(alike) - SHOWN} more" if len(alike) > SHOWN else ""
            lines.append(f"labels read as {meaning}: {', '.join(alike[:SHOWN])}{more}")
    return lines


def text_warnings(texts: list[dict[str, Any]], positive: str | None) -> list[str]:
    """Of the texts read as honest those that are `positive` written otherwise, and those that say nothing is known."""
    warnings = []
    for each in texts:
        plain = each["text"].strip().casefold()
        if each["is_fraud"] == 1 or positive is None:
            continue
        read = f"labels: {each['text']!r}, in {each['rows']} rows, was read as honest, for `positive` is {positive!r}"
        if plain == positive.strip().casefold():
            warnings.append(f"{read}; write them alike in the source.")
        elif plain in NOTHING_KNOWN:
            warnings.append(f"{read}; leave the field empty where nothing is known.")
    return warnings
