"""`make rollback`: make the champion before this one the champion again."""

import sys

from mlflow import MlflowClient

from pipelines.promote import PromotionRefusedError, move_champion
from pipelines.training import tracking


def champion_before(client: MlflowClient, model_name: str) -> str:
    """The version to go back to. Raises PromotionRefusedError where there is none."""
    version = tracking.champion_before(client, model_name)
    if version is None:
        raise PromotionRefusedError(f"{model_name} has no earlier champion to go back to.")
    return version


if __name__ == "__main__":
    sys.exit(move_champion(__doc__, champion_before))
