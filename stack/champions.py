"""Which models serve: the versions under the alias `champion`, asked of MLflow over HTTP."""

import json
from collections.abc import Mapping
from urllib.parse import urlencode

from feature_repo.settings import Settings
from stack import ports

MODELS = ("transaction_fraud", "account_risk")
ALIAS = "champion"


def known(settings: Settings) -> dict[str, str] | None:
    """Model -> version of every champion; None when MLflow does not say, or is not reached by HTTP."""
    if not settings.mlflow_tracking_uri.startswith("http"):
        return None
    asked = {model: _asked(settings.mlflow_tracking_uri, model) for model in MODELS}
    if any(version is None for version in asked.values()):
        return None
    return {model: version for model, version in asked.items() if version}


def told(settings: Settings, champions: Mapping[str, str] | None) -> dict[str, str]:
    """What `make status` says of each model: the version of its champion, or why it cannot be said."""
    if not settings.mlflow_tracking_uri.startswith("http"):
        return dict.fromkeys(MODELS, f"in {settings.mlflow_tracking_uri}")
    if champions is None:
        return dict.fromkeys(MODELS, "MLflow does not answer")
    return {model: f"version {champions[model]}" if model in champions else "none yet" for model in MODELS}


def _asked(tracking_uri: str, model: str) -> str | None:
    """The champion's version; empty where there is none; None when MLflow does not answer."""
    query = urlencode({"name": model, "alias": ALIAS})
    status, body = ports.http_get(f"{tracking_uri.rstrip('/')}/api/2.0/mlflow/registered-models/alias?{query}")
    if status == 200:
        return str(json.loads(body)["model_version"]["version"])
    return "" if status in (400, 404) else None
