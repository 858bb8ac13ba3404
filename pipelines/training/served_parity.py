"""What `make parity` found of the values served so far: the gate asks it before a model becomes champion."""

import json
from dataclasses import dataclass
from datetime import datetime

from feature_repo.settings import Settings


@dataclass(frozen=True)
class ServedParity:
    """How many served values were recomputed from the log, and how many of them differed."""

    values: int
    mismatches: int


def served_parity(settings: Settings) -> ServedParity | None:
    """The newest report of `make parity`; None where no value was compared since the log's history was loaded."""
    report, load = settings.reports_path / "parity.json", settings.transactions_path / "_commits" / "history.json"
    if not report.exists():
        return None
    if load.exists():
        loaded_at = datetime.fromisoformat(json.loads(load.read_text(encoding="utf-8"))["replaced_at"])
        if report.stat().st_mtime < loaded_at.timestamp():
            return None
    found = json.loads(report.read_text(encoding="utf-8"))
    return ServedParity(found["values"], found["mismatches"]) if found["values"] else None
