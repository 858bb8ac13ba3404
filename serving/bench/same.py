"""`python -m serving.bench --same`: one question asked in three ways, of many users chosen at random.

What the service answers over HTTP, what store.get_online_features answers at the same instant, and what the definition says
of the log (store.get_historical_features), of every feature of account_risk_v1. A JSON line on standard output and in
$DATA_DIR/reports/bench-serve-same.jsonl; exits with 1 when a value differs.
"""

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from feature_repo.settings import LOOPBACK, Settings

SERVICE = "account_risk_v1"
USERS = 10_000
AT_ONCE = 500
PATIENCE_S = 60.0
"""How long a service that is busy is asked again."""

TOLERANCE = 1e-9
"""Of float features, relative; integers and texts are equal or they differ."""


def main() -> int:
    """`python -m serving.bench.same FOLDER USERS`: print the line, with everything below FOLDER, which is DATA_DIR too."""
    folder, users = sys.argv[1:]
    print(json.dumps(compared(Path(folder), int(users))))
    return 0


def run(users: int) -> int:
    """0 when no value differs. The definitions read where the log is when they are loaded, so a process of its own compares."""
    with tempfile.TemporaryDirectory(prefix="plumbline-same-") as folder:
        command = [sys.executable, "-m", "serving.bench.same", folder, str(users)]
        done = subprocess.run(command, env={**os.environ, "DATA_DIR": folder}, stdout=subprocess.PIPE, text=True, check=True)
    reports = Settings.from_env().reports_path
    reports.mkdir(parents=True, exist_ok=True)
    (reports / "bench-serve-same.jsonl").write_text(done.stdout, encoding="utf-8")
    print(done.stdout, end="")
    line = json.loads(done.stdout)
    return 1 if line["different_online"] or line["different_definition"] else 0


def compared(folder: Path, users: int) -> dict[str, Any]:
    """The line: how many values were compared, and how many differ."""
    from plumbline import as_of
    from serving.bench.running import NOWHERE, own_store, server
    from serving.bench.servers import settings_of
    from serving.bench.world import World, applied_store, push, write_log, write_models

    world = World(users, seed=11, began=datetime.now(UTC))
    with own_store(folder) as address:
        settings = settings_of(folder, address, NOWHERE)
        history = world.history()
        write_log(settings, history)
        store = applied_store(settings)
        push(store, history)
        write_models(folder / "bench-models", store)
        tally = {"values": 0, "different_online": 0, "different_definition": 0}
        with server("plumbline", folder, address) as (_, port):
            for answers in _asked(port, world):
                at = datetime.fromisoformat(answers[0]["as_of"])
                rows = [{"user_id": answer["user_id"]} for answer in answers]
                with as_of(at):
                    response = store.get_online_features(store.get_feature_service(SERVICE), rows, full_feature_names=True)
                online, defined = response.to_dict(), _defined(store, rows, at)
                for number, answer in enumerate(answers):
                    for name, given in answer["features"].items():
                        tally["values"] += 1
                        tally["different_online"] += not same(given, online[name][number])
                        tally["different_definition"] += not same(given, defined[name][number])
    return {"bench": "serve-same", "users": users, "events": len(history), **tally}


def same(given: Any, expected: Any) -> bool:
    """Whether two values of a feature are equal by the rules; null is equal to null alone."""
    if given is None or expected is None:
        return given is None and expected is None
    if isinstance(expected, float):
        return bool(abs(given - expected) <= TOLERANCE * abs(expected))
    return bool(given == expected)


def _asked(port: int, world: Any) -> Iterator[list[dict[str, Any]]]:
    """The service's answers about every user in a random order, many at once: they share an instant."""
    order = np.random.default_rng(5).permutation(world.users).tolist()
    for start in range(0, len(order), AT_ONCE):
        yield _batch(port, [f"u{number}" for number in order[start : start + AT_ONCE]])


def _batch(port: int, users: Sequence[str]) -> list[dict[str, Any]]:
    body = json.dumps({"requests": [{"user_id": user} for user in users]}).encode()
    url, headers = f"http://{LOOPBACK}:{port}/v1/score/batch", {"Content-Type": "application/json"}
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as answer:
                responses: list[dict[str, Any]] = json.load(answer)["responses"]
                return responses
        except urllib.error.HTTPError as refused:
            if refused.code != http.client.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                raise
            time.sleep(float(refused.headers["Retry-After"]))


def _defined(store: Any, rows: Sequence[dict[str, Any]], at: datetime) -> dict[str, list[Any]]:
    """Feature -> its value for each row, from the log."""
    import pandas as pd

    entities = pd.DataFrame({"user_id": [row["user_id"] for row in rows], "event_timestamp": pd.Timestamp(at)})
    features = store.get_historical_features(entities, store.get_feature_service(SERVICE), full_feature_names=True)
    table = features.to_arrow()
    return {name: table[name].to_pylist() for name in table.column_names}


if __name__ == "__main__":
    sys.exit(main())
