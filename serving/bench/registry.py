"""`python -m serving.bench.registry FOLDER ALIAS NAME ...`: register FOLDER/NAME as another version of each model, as ALIAS.

The registry is that of MLFLOW_TRACKING_URI.
"""

import sys
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from feature_repo.settings import Settings

EXPERIMENT = "bench"


def main() -> None:
    folder, alias, *names = sys.argv[1:]
    settings = Settings.from_env()
    client = MlflowClient(settings.mlflow_tracking_uri, settings.mlflow_tracking_uri)
    found = client.get_experiment_by_name(EXPERIMENT)
    artifacts = (settings.data_dir / "artifacts").as_uri()
    experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT, artifacts)
    for name in names:
        run = client.create_run(experiment).info
        client.log_artifacts(run.run_id, str(Path(folder) / name), "model")
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        version = client.create_model_version(name, f"{run.artifact_uri}/model", run.run_id).version
        client.set_registered_model_alias(name, alias, version)


if __name__ == "__main__":
    main()
