"""Where the platform's other parts show themselves in a browser: data docs, MLflow and Feast's own interface."""

import psutil

from feature_repo.settings import LOOPBACK, Settings

DATA_DOCS = "/data-docs/index.html"


def links(settings: Settings) -> dict[str, str]:
    """Name -> address, for those that are there: the data docs once written (and only where nobody needs a key, because
    they show values of the log), MLflow where it is a server, Feast's interface while `make ui` runs.
    """
    found = {}
    if shows_data_docs(settings) and (settings.data_dir / "data_docs" / "index.html").exists():
        found["Data docs"] = DATA_DOCS
    if settings.mlflow_tracking_uri.startswith(("http://", "https://")):
        found["MLflow"] = settings.mlflow_tracking_uri
    port = _port_of_feast(settings)
    if port is not None:
        found["Feast"] = f"http://{LOOPBACK}:{port}"
    return found


def shows_data_docs(settings: Settings) -> bool:
    """Whether anybody may see the data docs: where there are no keys, and so only on this machine."""
    return not settings.api_keys and settings.api_keys_file is None


def _port_of_feast(settings: Settings) -> str | None:
    """The port that the running `feast ui` was started with; None when it does not run."""
    try:
        command = psutil.Process(int((settings.run_dir / "ui.pid").read_text())).cmdline()
    except (OSError, ValueError, psutil.Error):
        return None
    return command[command.index("--port") + 1] if {"ui", "--port"} <= set(command[:-1]) else None
