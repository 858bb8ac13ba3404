"""Which models serve: the versions under the alias `champion`, asked of MLflow over HTTP."""

import json
from urllib.parse import urlencode

from feature_repo.settings import Settings
from stack import ports

MODELS = ("transaction_fraud", "account_risk")
ALIAS = "champion"


def versions(settings: Settings) -> dict[str, str]:
    """Model -> version, or why it cannot be said; asks only a tracking server reached by HTTP."""
    return {model: _version(settings.mlflow_tracking_uri, model) for model in MODELS}


def _version(tracking_uri: str, model: str) -> str:
    if not tracking_uri.startswith("http"):
        return f"in {tracking_uri}"
    query = urlencode({"name": model, "alias": ALIAS})
    status, body = ports.http_get(f"{tracking_uri.rstrip('/')}/api/2.0/mlflow/registered-models/alias?{query}")
    if status == 200:
        return f"version {json.loads(body)['model_version']['version']}"
    return "none yet" if status in (400, 404) else "MLflow does not answer"
