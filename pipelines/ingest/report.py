"""What the last load was: `reports/load.json`, which training reads, and what the person at the keyboard is told."""

import json
from collections.abc import Mapping as MappingType
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from feature_repo.event_schema import TIMESTAMP
from feature_repo.settings import Settings
from pipelines.checks.expectations import Previous
from pipelines.ingest.columns import told
from pipelines.ingest.history import Loaded
from pipelines.ingest.instants import iso_text
from pipelines.ingest.label_texts import text_warnings
from pipelines.ingest.label_texts import told as texts_told
from pipelines.ingest.mapping import Mapping
from pipelines.ingest.progress import Say
from pipelines.ingest.source_files import SourceFile

REASONS_SHOWN = 10
SHOWN_OF_A_ROW = 120
"""Characters of the first row refused for a reason; quarantine has the whole of it."""


def previous_load(settings: Settings) -> Previous | None:
    """The event mix and median amount of the load before, from its report; None where there was none."""
    path = settings.reports_path / "load.json"
    if not path.exists():
        return None
    before = json.loads(path.read_text())
    return Previous(before["event_mix"], before["median_amount_cents"]) if before.get("event_mix") else None


def report(
    settings: Settings,
    loaded: Loaded,
    mapping: Mapping,
    source: str,
    files: list[SourceFile],
    generation: int,
    now_us: int,
    warnings: list[str],
) -> dict[str, Any]:
    """The content of load.json, read from the log now in place. Durations in seconds, instants RFC 3339 in UTC."""
    labels = _labels(settings.labels_path, now_us) | {"undated": loaded.labels_undated}
    positive = mapping.label.positive if mapping.label else None
    return {
        "source": source,
        "files": [str(file.path) for file in files],
        "mapping": mapping.name,
        "loaded_at": iso_text(now_us),
        "generation": generation,
        "shift_us": loaded.shift_us,
        "rows_in": loaded.rows_in,
        "rows_kept": loaded.rows_kept,
        "rows_quarantined": loaded.rows_quarantined,
        "quarantined_by_reason": loaded.by_reason,
        "first_refused": {
            reason: {"file": str(files[first.file].path), "row": first.row, "original": first.original[:SHOWN_OF_A_ROW]}
            for reason, first in loaded.first_refused.items()
        },
        "columns": loaded.columns,
        "oldest_event": iso_text(loaded.oldest_us + loaded.shift_us),
        "newest_event": iso_text(loaded.newest_us + loaded.shift_us),
        **asdict(loaded.durations),
        "labels": labels,
        "label_texts": loaded.label_texts,
        "labels_simulated": mapping.inject_scenarios or source == "simulator",
        "injected": _injected(loaded),
        "attributes": loaded.attributes,
        **_shape(settings.transactions_path),
        "warnings": [
            *warnings,
            *label_warnings(labels),
            *text_warnings(loaded.label_texts, positive),
            *attribute_warnings(loaded.attributes),
        ],
        "data_docs": str(settings.data_dir / "data_docs" / "index.html"),
    }


def label_warnings(labels: dict[str, int]) -> list[str]:
    """What is odd about the labels of a load: a coding that was misread shows as no fraud at all, or nothing else; a label
    without an instant is none."""
    warnings = []
    if labels["rows"] and labels["frauds"] in (0, labels["rows"]):
        what = "none" if labels["frauds"] == 0 else "every one"
        warnings.append(f"labels: {what} of {labels['rows']} labels says fraud; is `positive` in the mapping right?")
    if undated := labels["undated"]:
        warnings.append(
            f"labels: {undated} were left out, for nothing says when they were known: their `created_timestamp` is "
            "empty. Honest rows need an instant too; `delay:` gives every label one."
        )
    return warnings


def attribute_warnings(kinds: MappingType[str, str]) -> list[str]:
    """Slowly changing columns (name -> type) that are kept and that no view declares, so that no model sees them."""
    return [
        f"{name}: times are kept and are no feature; map a number that says the same, an age or days since, to learn from it."
        for name, kind in kinds.items()
        if kind == "timestamp"
    ]


def write_report(settings: Settings, content: dict[str, Any]) -> Path:
    settings.reports_path.mkdir(parents=True, exist_ok=True)
    path = settings.reports_path / "load.json"
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(content, indent=2) + "\n")
    unfinished.replace(path)
    return path


def tell(content: dict[str, Any], say: Say) -> None:
    """The sum first, then what was refused, simulated and shortened, and what to run next."""
    say(f"in {content['rows_in']} = kept {content['rows_kept']} + quarantined {content['rows_quarantined']}")
    for reason, count in list(content["quarantined_by_reason"].items())[:REASONS_SHOWN]:
        first = content["first_refused"].get(reason)
        where = f"; first {Path(first['file']).name}, row {first['row']}: {first['original']!r}" if first else ""
        say(f"  quarantined {count}: {reason}{where}")
    for line in told(content["columns"]):
        say(line)
    if injected := content["injected"]["events"]:
        scenarios = ", ".join(f"{name} {count}" for name, count in content["injected"]["scenarios"].items())
        say(
            f"This source knows no fraud: {injected} SIMULATED events of attacks ({scenarios}; "
            f"{content['injected']['frauds']} get reported) were added to it and are marked in scenario/. "
            "Every fraud label of this log is simulated; what a model learns here is about those."
        )
    known, frauds = content["labels"]["known"], content["labels"]["known_frauds"]
    say(f"labels: {content['labels']['rows']}, of which {known} are known by now, {frauds} of those are frauds")
    for line in texts_told(content["label_texts"]):
        say(line)
    say(_durations(content))
    if content["shift_us"]:
        days = content["shift_us"] / 86_400e6
        say(f"moved by {days:.3f} days, so that the newest event is now ({content['newest_event']})")
    for warning in content["warnings"]:
        say(f"warning: {warning}")
    _tell_what_to_run(content["generation"], say)


def _durations(content: dict[str, Any]) -> str:
    delay = content["label_delay_s"]
    simulated = "" if content["label_delay_given"] else " (simulated)"
    known = "given with each label" if delay is None else f"{_in_words(delay)}{simulated}"
    return (
        f"span {_in_words(content['span_s'])}, label delay {known}, training gap {_in_words(content['gap_s'])}, "
        f"account horizon {_in_words(content['account_horizon_s'])}; simulated ones are at most a tenth of the span"
    )


def _in_words(seconds: float) -> str:
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length_s:
            return f"{seconds / length_s:.1f} {unit}"
    return f"{seconds:.1f} s"


def _tell_what_to_run(generation: int, say: Say) -> None:
    say(f"The log's history is now generation {generation}.")
    if generation > 1:
        before = generation - 1
        say(f"The online store still holds states of generation {before} or older; they are served until you run:")
    else:
        say("The online store holds nothing of it yet. Run:")
    say("  make apply && make materialize    then make train, for a model of this data")


def _labels(folder: Path, now_us: int) -> dict[str, int]:
    labels = pads.dataset(folder, partitioning="hive", exclude_invalid_files=False)
    is_known = pc.field("created_timestamp") <= pa.scalar(now_us, TIMESTAMP)
    return {
        "rows": labels.count_rows(),
        "frauds": labels.count_rows(filter=pc.field("is_fraud") == 1),
        "known": labels.count_rows(filter=is_known),
        "known_frauds": labels.count_rows(filter=is_known & (pc.field("is_fraud") == 1)),
    }


def _injected(loaded: Loaded) -> dict[str, Any]:
    if loaded.injected.empty:
        return {"events": 0, "frauds": 0, "scenarios": {}}
    by_scenario = loaded.injected["scenario"].value_counts().sort_index()
    scenarios = {str(name): int(count) for name, count in by_scenario.items()}
    return {"events": len(loaded.injected), "frauds": int(loaded.injected["is_fraud"].sum()), "scenarios": scenarios}


def _shape(folder: Path) -> dict[str, Any]:
    """Shares of the event types and the median amount of the history, to compare the next load with."""
    rows = pads.dataset(folder, partitioning="hive").to_table(columns=["event_type", "amount_cents"])
    counts = {row["values"]: row["counts"] for row in pc.value_counts(rows["event_type"]).to_pylist() if row["values"]}
    median = pc.approximate_median(rows["amount_cents"]).as_py()
    return {
        "event_mix": {name: counts[name] / sum(counts.values()) for name in sorted(counts)},
        "median_amount_cents": median,
    }
