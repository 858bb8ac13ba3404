"""MLflow: runs, registered versions and the alias `champion`. Nothing here knows how a model is trained."""

import json
import os
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from feature_repo.settings import Settings
from pipelines.training.model_files import SavedModel, read_model

EXPERIMENT = "plumbline"
CHAMPION = "champion"
CHALLENGER = "challenger"
CHAMPION_SINCE = "champion_since"
MODEL_FOLDER = "model"
QUIET = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
"""What MLflow would print between the lines of our own progress."""


class TrackingUnavailableError(ConnectionError):
    """MLflow does not answer; the message says where it was looked for and what to run."""


def wait_for_mlflow(settings: Settings, seconds: float = 90.0) -> None:
    """Return as soon as the tracking server answers; files and SQLite need no waiting.

    Raises TrackingUnavailableError after `seconds`, naming the address and what to run.
    """
    uri = settings.mlflow_tracking_uri
    if not uri.startswith(("http://", "https://")):
        return
    deadline = time.monotonic() + seconds
    while not _answers(f"{uri.rstrip('/')}/health"):
        if time.monotonic() > deadline:
            remedy = "Run `make up`" if settings.embedded_mlflow else "Start it, or correct MLFLOW_TRACKING_URI"
            raise TrackingUnavailableError(f"MLflow at {uri} did not answer for {seconds:.0f} s. {remedy} and try again.")
        time.sleep(0.5)


def open_client(settings: Settings) -> tuple[MlflowClient, str]:
    """A client and the id of the experiment, which is created on first use."""
    uri = settings.mlflow_tracking_uri
    mlflow.set_tracking_uri(uri)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return client, found.experiment_id
    # A server knows where its artifacts go; without one they go beside the data, not into the working directory.
    location = None if uri.startswith("http") else (settings.data_dir / "mlflow-artifacts").as_uri()
    return client, client.create_experiment(EXPERIMENT, artifact_location=location)


def log_run(
    client: MlflowClient, experiment_id: str, name: str, *, params: dict[str, Any], metrics: dict[str, float],
    tags: dict[str, str], folder: Path,
) -> str:  # fmt: skip
    """One finished run with its model folder as artifact `model/`; returns the run's id."""
    run = client.create_run(experiment_id, run_name=name, tags=tags)
    at_ms = int(time.time() * 1000)
    client.log_batch(
        run.info.run_id,
        metrics=[Metric(key, value, at_ms, 0) for key, value in metrics.items()],
        params=[Param(key, str(value)) for key, value in params.items()],
    )
    client.log_artifacts(run.info.run_id, str(folder), MODEL_FOLDER)
    client.set_terminated(run.info.run_id)
    return run.info.run_id


def register(client: MlflowClient, model_name: str, run_id: str, tags: dict[str, str]) -> str:
    """A new version of a registered model whose source is the run's `model/` folder; returns the version."""
    try:
        client.create_registered_model(model_name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"{client.get_run(run_id).info.artifact_uri}/{MODEL_FOLDER}"
    version = client.create_model_version(model_name, source, run_id=run_id, tags=tags, await_creation_for=None)
    return str(version.version)


def set_champion(client: MlflowClient, model_name: str, version: str) -> None:
    """Move the alias to a version, and note on it when that was (UTC)."""
    client.set_registered_model_alias(model_name, CHAMPION, version)
    client.set_model_version_tag(model_name, version, CHAMPION_SINCE, datetime.now(UTC).isoformat())


def set_challenger(client: MlflowClient, model_name: str, version: str) -> None:
    """Give a version that did not become champion the alias under which the API scores it in the shadow (SHADOW_ALIAS)."""
    client.set_registered_model_alias(model_name, CHALLENGER, version)


def record_decision(client: MlflowClient, model_name: str, version: str, decision: dict[str, Any]) -> None:
    """Keep the gate's decision with the version: its reason as the tag `gate`, every check as JSON in `gate_checks`."""
    client.set_model_version_tag(model_name, version, "gate", decision["reason"])
    client.set_model_version_tag(model_name, version, "gate_checks", json.dumps(decision["checks"]))


def champion_version(client: MlflowClient, model_name: str) -> str | None:
    """The version under the alias; None where nothing was promoted yet."""
    try:
        return str(client.get_model_version_by_alias(model_name, CHAMPION).version)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def retire_champion(client: MlflowClient, model_name: str, why: str) -> None:
    """Take the alias away, so that nothing serves the model; the version stays, and says why."""
    version = champion_version(client, model_name)
    if version is not None:
        client.set_model_version_tag(model_name, version, "retired", why)
        client.delete_registered_model_alias(model_name, CHAMPION)


def definition_hash(client: MlflowClient, model_name: str, version: str) -> str | None:
    """Of the feature definitions that a version was trained on."""
    tags: dict[str, str] = client.get_model_version(model_name, version).tags
    return tags.get("definition_hash")


def champion_before(client: MlflowClient, model_name: str) -> str | None:
    """The version that was champion before the present one became it; None where there was none."""
    since = {
        str(version.version): version.tags[CHAMPION_SINCE]
        for version in client.search_model_versions(f"name = '{model_name}'")
        if CHAMPION_SINCE in version.tags
    }
    present = since.get(champion_version(client, model_name) or "", "")
    earlier = {version: at for version, at in since.items() if at < present}
    return max(earlier, key=lambda version: earlier[version], default=None)


def load_version(client: MlflowClient, model_name: str, version: str, folder: Path) -> SavedModel:
    """Download a version's files into folder and read them; MlflowException where there is no such version."""
    source = client.get_model_version(model_name, version).source
    return read_model(Path(mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=str(folder))))


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False
