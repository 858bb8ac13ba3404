"""What there is to know of each model: what it reads, how it was judged, and which versions there were."""

import json
from pathlib import Path
from typing import Any

from serving.binding import Models
from serving.model_file import Model
from serving.model_history import read_history


def model_cards(models: Models, models_folder: Path, train_report: Path) -> dict[str, Any]:
    """The body of /v1/models; blocks for reading two small files.

    models_folder  where the champions and the registry's history were fetched to
    train_report   of the last training, None in the answer for what it does not say
    """
    history, trained = read_history(models_folder), _trained(train_report)
    return {"models": [_card(name, model, history.get(name, []), trained.get(name)) for name, model in models.items()]}


def _card(name: str, model: Model | str, versions: list[dict[str, Any]], trained: Any) -> dict[str, Any]:
    served = isinstance(model, Model)
    return {
        "name": name,
        "served": _served(model) if isinstance(model, Model) else None,
        "absent": None if served else str(model),
        "versions": versions,
        "last_training": trained,
    }


def _served(model: Model) -> dict[str, Any]:
    return {
        "version": model.version,
        "feature_service": model.feature_service,
        "definition_hash": model.definition_hash,
        "features": list(model.features),
        "thresholds": {"review": model.review_at, "decline": model.decline_at},
        "calibration": {"a": model.calibration[0], "b": model.calibration[1]},
    }


def _trained(train_report: Path) -> dict[str, Any]:
    if not train_report.exists():
        return {}
    models: dict[str, Any] = json.loads(train_report.read_text(encoding="utf-8")).get("models", {})
    return models
