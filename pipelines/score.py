"""`make score INPUT= OUTPUT=`: score a file of requests with the champion, each as of its own instant.

INPUT is CSV, JSON lines or Parquet. A row is a user_id, columns of a transaction where there is one (then all rows are scored
as transactions) and an event_timestamp with a UTC offset (left out: now). OUTPUT is Parquet: the rows in their order, with
score, decision, model, version and as_of: the values that the service answers at that instant once the same events are folded.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo import open_store
from feature_repo.settings import Settings
from pipelines.request_file import AMOUNT, TEXTS, ScoringRefusedError, read_table
from pipelines.training import tracking
from pipelines.training.features import feature_names
from pipelines.training.model_files import SavedModel
from plumbline import FeatureStore

TRANSACTION_MODEL, ACCOUNT_MODEL = "transaction_fraud", "account_risk"
ENGINES = ("local", "spark")
PLACES = ("merchant_id", "device_id")
REQUEST_COLUMNS = (AMOUNT, *(name for name in TEXTS if name not in ("user_id", *PLACES)))
INSTANT = pa.timestamp("us", "UTC")


@dataclass(frozen=True)
class Requests:
    """n requests in their order: the file's columns as they were, the instant of each (UTC), and which model is asked."""

    given: pa.Table
    at: pa.Array
    model_name: str

    def entity_rows(self) -> pd.DataFrame:
        """(n, k) what get_historical_features is asked: the same columns as the service's entity rows."""
        rows: dict[str, Any] = {"user_id": self.given["user_id"], "event_timestamp": self.at}
        if self.model_name == TRANSACTION_MODEL:
            rows |= {name: self._column(name, pa.string()) for name in PLACES}
            rows |= {
                f"transaction_{name}": self._column(name, pa.int64() if name == AMOUNT else pa.string())
                for name in REQUEST_COLUMNS
            }
            rows["transaction_time_us"] = self.at.cast(pa.int64())
        return pa.table(rows).to_pandas(integer_object_nulls=True)

    def _column(self, name: str, kind: pa.DataType) -> pa.ChunkedArray | pa.Array:
        if name not in self.given.column_names:
            return pa.nulls(self.given.num_rows, kind)
        return self.given[name]


def read_requests(path: Path, now: datetime) -> Requests:
    """Read a file. Raises ScoringRefusedError for what read_table refuses, and for instants without an offset."""
    given = read_table(path)
    of_transaction = set(given.column_names) & {*PLACES, *REQUEST_COLUMNS}
    return Requests(given, _instants(given, now), TRANSACTION_MODEL if of_transaction else ACCOUNT_MODEL)


def score(store: FeatureStore, model: SavedModel, requests: Requests) -> pa.Table:
    """The file's columns with score, decision and as_of; rows in their order.

    Every event that the log holds counts at its time, as it does online, whenever it became known.
    """
    service = store.get_feature_service(model.contract["feature_service"])
    job = store.get_historical_features(requests.entity_rows(), service, full_feature_names=True)
    scores = model.score(job.to_arrow().select(feature_names(service)))
    thresholds = model.contract["thresholds"]
    decisions = np.select([scores >= thresholds["decline"], scores >= thresholds["review"]], ["decline", "review"], "approve")
    answers = {"score": pa.array(scores), "decision": pa.array(decisions.tolist(), pa.string()), "as_of": requests.at}
    return _beside(requests.given, answers)


def _beside(given: pa.Table, columns: Mapping[str, pa.Array]) -> pa.Table:
    """The table, then the columns; its own of these names, as a file has that was scored before, give way to them."""
    table = given.drop_columns([name for name in columns if name in given.column_names])
    for name, values in columns.items():
        table = table.append_column(name, values)
    return table


def _instants(given: pa.Table, now: datetime) -> pa.Array:
    if "event_timestamp" not in given.column_names:
        return pa.array([now] * given.num_rows, INSTANT)
    column = given["event_timestamp"].combine_chunks()
    is_instant = pa.types.is_timestamp(column.type) or pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if not is_instant and column.null_count < len(column):
        raise ScoringRefusedError(f"event_timestamp is {column.type}, no instant; write 2026-11-20T12:00:00Z or ...+01:00.")
    if pa.types.is_timestamp(column.type) and column.type.tz is None:
        raise ScoringRefusedError("event_timestamp has no UTC offset; write 2026-11-20T12:00:00Z or ...+01:00.")
    try:
        return pc.fill_null(column.cast(INSTANT), pa.scalar(now, INSTANT))
    except pa.ArrowInvalid as error:
        raise ScoringRefusedError(f"event_timestamp: {error}; write 2026-11-20T12:00:00Z or ...+01:00.") from None


def main() -> int:
    """0 when OUTPUT was written."""
    parser = argparse.ArgumentParser(prog="make score", description="Score a file of requests with the champion.")
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--engine", choices=ENGINES, default="local", help="what computes the features")
    arguments = parser.parse_args()
    settings = Settings.from_env()
    try:
        if not arguments.output.name:
            raise ScoringRefusedError("OUTPUT= names no file; give the Parquet file to write.")
        requests = read_requests(arguments.input, datetime.now(UTC))
        written = write_scores(settings, requests, arguments.output, arguments.engine)
    except (ScoringRefusedError, tracking.TrackingUnavailableError) as refused:
        print(f"make score: {refused}", file=sys.stderr)
        return 1
    counts = {entry["values"]: entry["counts"] for entry in written["decision"].value_counts().to_pylist()}
    told = ", ".join(f"{count:,} {decision}" for decision, count in sorted(counts.items()))
    print(f"scored {written.num_rows:,} requests ({told}) into {arguments.output}")
    return 0


def write_scores(settings: Settings, requests: Requests, output: Path, engine: str) -> pa.Table:
    """Score with the champion and write `output` in one step. Raises ScoringRefusedError where there is no champion."""
    client, _ = tracking.open_client(settings)
    version = tracking.champion_version(client, requests.model_name)
    if version is None:
        raise ScoringRefusedError(f"model {requests.model_name} has no champion; run `make train`.")
    store = open_store(settings)
    store.config.offline_store.engine = engine
    with tempfile.TemporaryDirectory() as folder:
        model = tracking.load_version(client, requests.model_name, version, Path(folder))
    table = score(store, model, requests)
    of_model = {"model": requests.model_name, "model_version": version}
    table = _beside(table, {name: pa.array([value] * table.num_rows, pa.string()) for name, value in of_model.items()})
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_name(f"{output.name}.unfinished")
    pq.write_table(table, unfinished)
    unfinished.replace(output)
    return table


if __name__ == "__main__":
    sys.exit(main())
