"""`make promote`: move the alias `champion` by hand, to the newest version or a given one, after the check serving makes."""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from feature_repo import open_store
from feature_repo.settings import Settings
from pipelines.training import tracking
from pipelines.training.notice import notify
from plumbline import FeatureStore


class PromotionRefusedError(ValueError):
    """The version cannot serve; the message says why and what to run."""


def promote(client: MlflowClient, store: FeatureStore, model_name: str, version: str, *, dry_run: bool = False) -> str:
    """Make a version champion; returns the sentence to print.

    Raises PromotionRefusedError where it was trained on other feature definitions than the applied ones.
    """
    with tempfile.TemporaryDirectory(prefix="plumbline-promote-") as folder:
        contract = tracking.load_version(client, model_name, version, Path(folder)).contract
    applied = store.definition_hash(contract["feature_service"])
    if contract["definition_hash"] != applied:
        raise PromotionRefusedError(
            f"{model_name} version {version} was trained on definitions {contract['definition_hash']}, but {applied} "
            "are applied. Apply the definitions it was trained on, or run `make train`."
        )
    before = tracking.champion_version(client, model_name)
    if not dry_run:
        tracking.set_champion(client, model_name, version)
    return f"{model_name}: champion {'would be' if dry_run else 'is'} version {version} (before: {before or 'none'})."


def newest(client: MlflowClient, model_name: str) -> str:
    """The newest registered version. Raises PromotionRefusedError where nothing was registered."""
    versions = [int(version.version) for version in client.search_model_versions(f"name = '{model_name}'")]
    if not versions:
        raise PromotionRefusedError(f"No version of {model_name} is registered; run `make train`.")
    return str(max(versions))


def move_champion(description: str, choose: Callable[[MlflowClient, str], str]) -> int:
    """A command line that makes the chosen version champion: [MODEL] [--version V] [--dry-run]; returns the exit code."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("model", nargs="?", default="transaction_fraud", help="registered model (default %(default)s)")
    parser.add_argument("--version", help="this version, whatever else would be chosen")
    parser.add_argument("--dry-run", action="store_true", help="check and say, change nothing")
    arguments = parser.parse_args()
    settings = Settings.from_env()
    try:
        tracking.wait_for_mlflow(settings)
        client, _ = tracking.open_client(settings)
        version = arguments.version or choose(client, arguments.model)
        said = promote(client, open_store(settings), arguments.model, version, dry_run=arguments.dry_run)
        if not arguments.dry_run:
            told = {"model": arguments.model, "version": version, "by": "hand", "promoted": True, "reason": said}
            client.set_model_version_tag(arguments.model, version, "promoted_by_hand", said)
            notify(settings, told)
        print(said)
    except (tracking.TrackingUnavailableError, PromotionRefusedError, MlflowException) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(move_champion(__doc__, newest))
