"""The embedded model registry: one MLflow server with SQLite and files under the data directory, on loopback."""

import sys

from feature_repo.settings import LOOPBACK, Settings
from stack import ports
from stack.processes import Program

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # else eight more processes and 0.9 GB for jobs that nobody submits
}


def program(settings: Settings) -> Program:
    """The server on MLFLOW_PORT; it takes long to answer (13 s on 2 cores), so `make up` does not wait for it."""
    home = settings.data_dir / "mlflow"
    options = {
        "--host": LOOPBACK,
        "--port": str(settings.mlflow_port),
        "--workers": "1",
        "--backend-store-uri": f"sqlite:///{home / 'mlflow.db'}",
        "--artifacts-destination": str(home / "artifacts"),
    }
    return Program(
        name="mlflow",
        prepare=lambda: home.mkdir(parents=True, exist_ok=True),
        command=[sys.executable, "-m", "mlflow", "server", *(word for option in options.items() for word in option)],
        ready=lambda: ports.http_get(f"http://{LOOPBACK}:{settings.mlflow_port}/health")[0] == 200,
        ports={settings.mlflow_port: "MLFLOW_PORT"},
        environment=ENVIRONMENT,
        ready_within_s=180,
    )
