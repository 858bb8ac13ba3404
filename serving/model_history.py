"""The versions of each model as the registry has them: when they were made, how they were judged, when they were champion."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

VERSIONS_FILE = "versions.json"
MOST_VERSIONS = 20
CHAMPION_SINCE = "champion_since"


def write_history(client: Any, folder: Path, names: Sequence[str]) -> None:
    """Write folder/versions.json: model -> its newest versions, newest first. client: mlflow.MlflowClient."""
    unfinished = folder / f"{VERSIONS_FILE}.new"
    unfinished.write_text(json.dumps({name: _versions(client, name) for name in names}), encoding="utf-8")
    unfinished.replace(folder / VERSIONS_FILE)


def read_history(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What write_history wrote; empty where it was never called."""
    path = folder / VERSIONS_FILE
    if not path.exists():
        return {}
    history: dict[str, list[dict[str, Any]]] = json.loads(path.read_text(encoding="utf-8"))
    return history


def _versions(client: Any, name: str) -> list[dict[str, Any]]:
    found = sorted(client.search_model_versions(f"name = '{name}'"), key=lambda version: -int(version.version))
    return [_described(client, version) for version in found[:MOST_VERSIONS]]


def _described(client: Any, version: Any) -> dict[str, Any]:
    run = client.get_run(version.run_id) if version.run_id else None
    tags = dict(version.tags or {})
    return {
        "version": str(version.version),
        "created_at": datetime.fromtimestamp(version.creation_timestamp / 1e3, UTC).isoformat(),
        "champion_since": tags.pop(CHAMPION_SINCE, None),
        "tags": tags,
        "metrics": run.data.metrics if run else {},
    }
