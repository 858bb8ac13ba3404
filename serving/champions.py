"""Fetching the champions from MLflow into a folder; a process of its own, because importing MLflow costs seconds."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.model_history import write_history

TRANSACTION_MODEL = "transaction_fraud"
ACCOUNT_MODEL = "account_risk"
MODEL_NAMES = (TRANSACTION_MODEL, ACCOUNT_MODEL)
ALIAS = "champion"
CONTRACT_FILE = "contract.json"
WAIT_FOR_SERVER_S = 120


class ChampionError(RuntimeError):
    """The champions could not be fetched; the message says why and what to run."""


@dataclass(frozen=True)
class Champion:
    """A registered model's version under an alias (champion, or a challenger's), and the folder its files were fetched to."""

    name: str
    version: str
    folder: Path


class ChampionFetch:
    """Fetches in the background, so that the rest of the service can start meanwhile."""

    def __init__(self, tracking_uri: str, folder: Path, alias: str = ALIAS) -> None:
        self._folder = folder
        command = [sys.executable, "-m", "serving.champions", tracking_uri, str(folder), alias]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=None, env=_environment())

    def result(self) -> dict[str, Champion | None]:
        """Wait for the champions by model name; None where there is no champion. Raises ChampionError."""
        if self._process.wait() != 0:
            raise ChampionError("The champions were not fetched from MLflow (see the line above); nothing was started.")
        listing = json.loads((self._folder / "champions.json").read_text(encoding="utf-8"))
        return {name: _champion(name, entry) for name, entry in listing.items()}

    def stop(self) -> None:
        """End the fetch when the service gave up meanwhile."""
        self._process.kill()
        self._process.wait()


def fetched(tracking_uri: str, folder: Path, alias: str = ALIAS) -> dict[str, Champion | None]:
    """ChampionFetch, waited for: the versions under the alias by model name. Raises ChampionError."""
    fetching = ChampionFetch(tracking_uri, folder, alias)
    try:
        return fetching.result()
    finally:
        fetching.stop()


def fetch(
    tracking_uri: str, folder: Path, names: Sequence[str] = MODEL_NAMES, alias: str = ALIAS
) -> dict[str, Champion | None]:
    """Download each model's version under the alias to `folder/<name>/<version>`; None for a model without one."""
    from mlflow import MlflowClient  # seconds to import: only in the fetching process

    client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
    folder.mkdir(parents=True, exist_ok=True)
    write_history(client, folder, names)
    return {name: _fetch_one(client, tracking_uri, folder, name, alias) for name in names}


def _fetch_one(client: Any, tracking_uri: str, folder: Path, name: str, alias: str) -> Champion | None:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        version = client.get_model_version_by_alias(name, alias).version
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    source = client.get_model_version_download_uri(name, version)
    target = folder / name / str(version)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    fetched = Path(download_artifacts(artifact_uri=source, dst_path=str(target), tracking_uri=tracking_uri))
    contract = next(fetched.rglob(CONTRACT_FILE), None)
    if contract is None:
        raise ChampionError(f"Version {version} of {name} has no {CONTRACT_FILE} in {source}; run `make train`.")
    return Champion(name, str(version), contract.parent)


def wait_for_server(tracking_uri: str) -> None:
    """Wait until an MLflow server answers, telling so; returns at once for a database or folder."""
    if not tracking_uri.startswith(("http://", "https://")):
        return
    started, told = time.monotonic(), 0.0
    while not _answers(tracking_uri):
        waited = time.monotonic() - started
        if waited > WAIT_FOR_SERVER_S:
            raise ChampionError(
                f"MLflow at {tracking_uri} did not answer for {waited:.0f} s; run `make up` or set MLFLOW_TRACKING_URI."
            )
        if waited >= told:
            print(f"waiting for MLflow at {tracking_uri} ({waited:.0f} s) ...", file=sys.stderr, flush=True)
            told += 10
        time.sleep(0.3)


def _answers(tracking_uri: str) -> bool:
    try:
        with urllib.request.urlopen(tracking_uri.rstrip("/") + "/health", timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _champion(name: str, entry: dict[str, str] | None) -> Champion | None:
    return None if entry is None else Champion(name, entry["version"], Path(entry["folder"]))


def _environment() -> dict[str, str]:
    quick = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    return {**quick, **os.environ}


def main() -> int:
    """`python -m serving.champions TRACKING_URI FOLDER ALIAS`: write FOLDER/champions.json."""
    tracking_uri, folder, alias = sys.argv[1:]
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    try:
        wait_for_server(tracking_uri)
        champions = fetch(tracking_uri, target, alias=alias)
    except ChampionError as error:
        print(error, file=sys.stderr)
        return 1
    entries = {
        name: None if champion is None else {"version": champion.version, "folder": str(champion.folder)}
        for name, champion in champions.items()
    }
    unfinished = target / "champions.json.new"
    unfinished.write_text(json.dumps(entries, indent=2), encoding="utf-8")
    unfinished.replace(target / "champions.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
