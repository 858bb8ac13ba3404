"""The servers that are compared, each in a process of its own: `python -m serving.bench.servers KIND PORT FOLDER STORE BROKER`.

plumbline     the service, one worker
bare          FastAPI that checks the same request and answers with constants: what there is to gain
feast_mlflow  Feast 0.67's own online read of values computed beforehand, and an sklearn pipeline as MLflow's pyfunc
"""

import sys
from pathlib import Path
from typing import Any

import prometheus_client  # noqa: F401  before feast, whose import would move every metric into files
import uvicorn
from fastapi import FastAPI

from feature_repo import open_store
from feature_repo.settings import LOOPBACK, Settings
from serving.messages import ScoreRequest


def settings_of(folder: Path, store: str, broker: str) -> Settings:
    """Where nobody listens at `broker`, decisions go to the spool on disk, which is what they do while Kafka is away."""
    return Settings.from_env({"DATA_DIR": str(folder), "REDIS_CONNECTION_STRING": store, "KAFKA_BOOTSTRAP_SERVERS": broker})


def plumbline_app(folder: Path, store: str, broker: str) -> FastAPI:
    from serving.app import create_app
    from serving.bench.world import bound
    from serving.metrics import Metrics
    from serving.service import decision_log

    settings, metrics = settings_of(folder, store, broker), Metrics()
    opened = open_store(settings)
    return create_app(settings, opened, bound(folder / "bench-models", opened), decision_log(settings, metrics), metrics)


def bare_app(folder: Path, store: str, broker: str) -> FastAPI:
    app = FastAPI()

    @app.post("/v1/score")
    async def score(request: ScoreRequest) -> dict[str, Any]:
        return {"user_id": request.user_id, "score": 0.5, "decision": "approve"}

    return app


def feast_mlflow_app(folder: Path, store: str, broker: str) -> FastAPI:
    from serving.bench.usual_way import usual_way

    predict = usual_way(folder / "usual", store)
    app = FastAPI()

    @app.post("/v1/score")
    def score(request: ScoreRequest) -> dict[str, Any]:
        return {"user_id": request.user_id, "score": predict(request.user_id)}

    return app


KINDS = {"plumbline": plumbline_app, "bare": bare_app, "feast_mlflow": feast_mlflow_app}


def main() -> None:
    kind, port, folder, store, broker = sys.argv[1:]
    app = KINDS[kind](Path(folder), store, broker)
    app.add_api_route("/started", lambda: {"kind": kind})
    uvicorn.run(app, host=LOOPBACK, port=int(port), log_config=None, access_log=False)


if __name__ == "__main__":
    main()
