"""What one model is fitted, chosen and tested on, and what the report says about it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from feast.errors import FeatureServiceNotFoundException

from pipelines.training.candidates import Candidate, check_parts
from pipelines.training.label_notes import label_notes
from pipelines.training.labels import TrainingRefusedError
from pipelines.training.leaks import too_good, without_leaks
from pipelines.training.odd_columns import odd_columns, rare_texts
from pipelines.training.parts import Asked, Part, ask
from pipelines.training.report import guessing, instant, split_report
from pipelines.training.rows import Examples
from pipelines.training.session import Session, Task
from pipelines.training.split import Split, split_by_time
from pipelines.training.tested import tested_rows, unseen_notes
from pipelines.training.unreported import on_unreported_users
from pipelines.training.verdict import evaluation


@dataclass(frozen=True)
class Material:
    """What a model is fitted, chosen and tested on, and what there is to say about it."""

    asked: Asked
    split: Split
    parts: dict[str, Part]
    tested: dict[str, Any]
    notes: list[str]
    warned: list[str]


def material(task: Task, session: Session, tell: Callable[[str], None]) -> Material:
    """The examples of a task with their features as they were known; what is odd about them is told and kept.

    Raises TrainingRefusedError where they do not suffice for a model, or the feature service is not applied.
    """
    log = session.log
    split = split_by_time(session.labelled_us, log.known_until_us, session.periods)
    examples = task.examples(log, session.periods, split, session.seed)
    tell(f"features of {len(examples.start_us):,} rows by {task.service}")
    asked = _asked(task, session, examples, split)
    parts, test_rows = asked.parts(split), asked.rows(split)["test"]
    tested = tested_rows(session.settings, examples, test_rows, parts["test"])
    notes = [*examples.notes, *asked.notes, *label_notes(log, examples), *check_parts(parts)]
    parts, warned = without_leaks(parts, session.seed)
    for warning in warned:
        tell(f"WARNING {warning}")
    tell(f"{len(parts['fit'].fraud):,} rows to fit on")
    return Material(asked, split, parts, tested, notes, warned)


def contract(task: Task, session: Session, material: Material) -> dict[str, Any]:
    """What a saved model promises to be served with: the service and definitions it was trained on."""
    return {
        "model": task.name,
        "feature_service": task.service,
        "definition_hash": session.store.definition_hash(task.service),
        "base_rate": float(material.parts["test"].fraud.mean()),
        "trained_until": instant(material.split.train_end),
    }


def report(chosen: Candidate, material: Material, seed: int) -> dict[str, Any]:
    """The part of train.json that tells what was learned from what: metrics, rows, split, features, thresholds, warnings."""
    contract, parts = chosen.saved.contract, material.parts
    seen = parts["fit"].features
    used = parts["test"].features.select(list(contract["features"]))
    odd = too_good(used, parts["test"].fraud, chosen.metrics["average_precision"], seed)
    odd += [*odd_columns(seen), *rare_texts(seen, contract["categories"])]
    odd += unseen_notes(seen, parts["test"].features, tuple(contract["features"]))
    return {
        "trained": True,
        **chosen.metrics,
        "rows": sum(len(part.fraud) for part in parts.values()),
        "positives": int(sum(part.fraud.sum() for part in parts.values())),
        "split": split_report(material.split),
        "parts": {name: {"rows": len(part.fraud), "positives": int(part.fraud.sum())} for name, part in parts.items()},
        "unreported_users": on_unreported_users(parts["test"], chosen.test_score, seed),
        "chosen": chosen.kind,
        **{name: contract[name] for name in ("feature_service", "definition_hash", "features", "thresholds")},
        "evaluation": evaluation(chosen, material.tested),
        "warnings": [*material.warned, *odd],
        "notes": material.notes,
    }


def guessed(parts: dict[str, Part]) -> dict[str, Any]:
    """The report's line of a model that gives every row the base rate of what it knew."""
    known = parts["fit"], parts["validation"]
    fraud, weight = np.concatenate([part.fraud for part in known]), np.concatenate([part.weight for part in known])
    return {"base_rate": guessing(fraud, weight, parts["test"].fraud)}


def _asked(task: Task, session: Session, examples: Examples, split: Split) -> Asked:
    try:
        return ask(session.store, task.service, examples, split, session.log.known_until_us, session.seed)
    except FeatureServiceNotFoundException as error:
        raise TrainingRefusedError(f"{error}. Run `make apply`.") from None
