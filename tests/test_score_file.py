"""`make score`: a file of requests is given the scores that the service gives at the same instants."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from serving_lab import Service, await_ready, running, write_model
from test_recompute import world  # noqa: F401  a store and a log that hold the same events

from feature_repo.settings import Settings
from pipelines.score import ScoringRefusedError, read_requests, write_scores
from pipelines.training import tracking
from serving.binding import bind
from serving.champions import Champion

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def champion(world: tuple[Settings, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Any, Path]:  # noqa: F811
    settings, store = world
    folder = write_model(tmp_path_factory.mktemp("model") / "transaction_fraud", "transaction_fraud", store)
    uri = f"sqlite:///{settings.data_dir / 'mlflow.db'}"
    settings = Settings.from_env({"DATA_DIR": str(settings.data_dir), "MLFLOW_TRACKING_URI": uri,
                                  "REDIS_CONNECTION_STRING": settings.redis_connection_string,
                                  "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})  # fmt: skip
    client, experiment = tracking.open_client(settings)
    run = tracking.log_run(client, experiment, "one", params={}, metrics={}, tags={}, folder=folder)
    tracking.set_champion(client, "transaction_fraud", tracking.register(client, "transaction_fraud", run, {}))
    return settings, store, folder


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_file_has_the_scores_of_the_service_at_the_same_instants(champion, tmp_path: Path, suffix: str):
    settings, store, folder = champion
    asked = [
        {"user_id": user, "merchant_id": "the-bakery", "amount_cents": cents, "country": "DE",
         "event_timestamp": (NOW + timedelta(minutes=minutes)).isoformat()}
        for user, cents, minutes in (("ada", 100, 1), ("nobody", 70_000, 2), ("ada", 60_000, 3), ("ada", 100, 1))
    ]  # fmt: skip

    scored = write_scores(
        settings, read_requests(written(tmp_path / f"in{suffix}", asked), NOW), tmp_path / "out.parquet", "local"
    )

    models = bind(store, {"transaction_fraud": Champion("transaction_fraud", "1", folder)}, folder / "train.json")
    with running(settings, store, models) as service:
        await_ready(service.client)
        answers = [answer_of(service, request) for request in asked]
    assert scored["score"].to_pylist() == pytest.approx([answer["score"] for answer in answers], rel=1e-12)
    assert scored["decision"].to_pylist() == [answer["decision"] for answer in answers]
    assert scored["user_id"].to_pylist() == ["ada", "nobody", "ada", "ada"]
    assert pq.read_table(tmp_path / "out.parquet").equals(scored)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.csv", "user\nada\n", "no column user_id"),
        ("b.csv", "user_id,event_timestamp\nada,2026-01-01T00:00:00\n", "UTC offset"),
        ("c.txt", "user_id\nada\n", "none of"),
        ("d.csv", "user_id,amount_cents\n", "no row"),
        ("e.csv", "user_id,amount_cents\nada,1\n,2\n", "^Row 2: user_id is empty"),
        ("f.csv", "user_id,amount_cents\nada,123.45\n", "^amount_cents must be whole cents"),
        ("g.csv", "user_id,amount_cents\nada,twelve\n", "^amount_cents must be whole cents"),
        ("h.csv", "user_id,amount_cents\nada,\nada,-5\n", "^Row 2: amount_cents is negative"),
        ("j.csv", "user_id,event_timestamp\nada,1763800000\n", "^event_timestamp is int64, no instant"),
        ("k.csv", "user_id,event_timestamp\nada,2026-01-01\n", "^event_timestamp is date32.*, no instant"),
        ("l.csv", "user_id,country,country\nada,DE,NO\n", "has the column country more than once"),
        ("m.csv", f"user_id\nada\n{'x' * 257}\n", "^Row 2: user_id is longer than 256 characters"),
        ("n.jsonl", '{"user_id": "ada", "merchant_id": ""}\n', "^Row 1: merchant_id is empty"),
        ("o.jsonl", '{"user_id": "a\\u0085a"}\n', "^Row 1: user_id has a control character"),
        ("p.jsonl", '{"user_id": true}\n', "^user_id is bool; write it as text"),
        ("q.jsonl", '{"user_id": "ada", "merchant_id": ["x"]}\n', "^merchant_id is list<.*; write it as text"),
        ("r.jsonl", '{"user_id": "ada", "amount_cents": true}\n', "^amount_cents must be whole cents"),
        ("i.csv", "user_id,event_type\nada,payment\nada,purchase\n", "^Row 2: event_type is none of view, hold"),
    ],
)
def test_a_file_that_cannot_be_scored_is_refused_with_the_reason(tmp_path: Path, name: str, text: str, why: str):
    (tmp_path / name).write_text(text)

    with pytest.raises(ScoringRefusedError, match=why):
        read_requests(tmp_path / name, NOW)


def test_a_file_of_scores_can_be_scored_again(champion, tmp_path: Path):
    settings, _, _ = champion
    asked = written(tmp_path / "in.jsonl", [{"user_id": "ada", "amount_cents": 100, "country": "DE"}])

    once = write_scores(settings, read_requests(asked, NOW), tmp_path / "once.parquet", "local")
    again = write_scores(settings, read_requests(tmp_path / "once.parquet", NOW), tmp_path / "again.parquet", "local")

    assert again.column_names == once.column_names
    assert pq.read_table(tmp_path / "again.parquet")["score"].equals(once["score"])


def test_ids_of_a_file_are_those_of_the_log_zeros_and_na_included(tmp_path: Path):
    (tmp_path / "a.csv").write_text("user_id,merchant_id,category,amount_cents\n0007,05,NA,100\nNA,,2026-01-01,\n")
    pq.write_table(pa.table({"user_id": [596.0, 7.0], "merchant_id": [3, None]}), tmp_path / "b.parquet")

    csv, parquet = (read_requests(tmp_path / name, NOW).given for name in ("a.csv", "b.parquet"))

    assert csv.to_pydict() == {
        "user_id": ["0007", "NA"],
        "merchant_id": ["05", None],
        "category": ["NA", "2026-01-01"],
        "amount_cents": [100, None],
    }
    assert parquet.to_pydict() == {"user_id": ["596", "7"], "merchant_id": ["3", None]}


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def answer_of(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    transaction = {name: value for name, value in request.items() if name != "user_id"}
    answered = service.score({"user_id": request["user_id"], "transaction": transaction})
    assert answered.status_code == 200, answered.text
    answer: dict[str, Any] = answered.json()
    return answer
