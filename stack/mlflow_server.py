"""The embedded model registry: one MLflow server with SQLite and files under the data directory, on loopback."""

import sys

from feature_repo.settings import LOOPBACK, Settings
from stack import ports
from stack.processes import Program


def program(settings: Settings) -> Program:
    """The server on MLFLOW_PORT; it takes half a minute to answer, so `make up` does not wait for it."""
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
        environment={"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"},
        ready_within_s=180,
    )
