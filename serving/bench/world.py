"""What the benchmark serves: payments of many users in a store, and a model over every feature of a service."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo import definitions, open_store
from feature_repo.event_schema import LABELS, TRANSACTIONS
from feature_repo.row_level import add_columns
from feature_repo.settings import Settings
from serving.binding import bind
from serving.champions import Champion
from serving.model_file import Model

EVENTS_A_USER = 8
DAYS = 28
TREES, LEAVES = 200, 31
PUSHED_AT_ONCE = 5_000
EXPLAINED_ONE_IN = 20
SERVICES = {"account_risk": "account_risk_v1", "transaction_fraud": "transaction_fraud_v1"}


@dataclass(frozen=True)
class World:
    """Everything that happened so far: events in the order of their offsets in partition 0."""

    users: int
    seed: int
    began: datetime

    def history(self) -> list[dict[str, Any]]:
        """What happened before the load, spread over four weeks and thicker towards the end."""
        random = np.random.default_rng(self.seed)
        count = self.users * EVENTS_A_USER
        ago = np.sort(random.exponential(DAYS * 86_400 / 4, count).clip(0, DAYS * 86_400) + 1.0)[::-1]
        return [self._event(random, i, self.began - timedelta(seconds=float(ago[i]))) for i in range(count)]

    def live(self) -> Iterator[dict[str, Any]]:
        """What happens from now on, each when it is asked for."""
        random = np.random.default_rng(self.seed + 1)
        offset = self.users * EVENTS_A_USER
        while True:
            yield self._event(random, offset, datetime.now(UTC))
            offset += 1

    def _event(self, random: np.random.Generator, offset: int, at: datetime) -> dict[str, Any]:
        return {
            "event_id": f"e{offset}",
            "event_timestamp": at,
            "created_timestamp": at,
            "source_partition": 0,
            "source_offset": offset,
            "user_id": f"u{random.integers(self.users)}",
            "merchant_id": f"m{random.integers(200)}",
            "device_id": f"d{random.integers(self.users)}",
            "event_type": str(random.choice(["payment", "view", "hold", "withdrawal"], p=[0.6, 0.25, 0.1, 0.05])),
            "country": str(random.choice(["DE", "FR", "NO"])),
            "channel": "app",
            "category": "food",
            "amount_cents": int(random.integers(100, 90_000)),
        }


def push(store: Any, events: list[dict[str, Any]]) -> None:
    """Fold events into the store, as the stream's fold does."""
    for start in range(0, len(events), PUSHED_AT_ONCE):
        table = pa.Table.from_pylist(events[start : start + PUSHED_AT_ONCE], schema=TRANSACTIONS)
        store.push("transactions", add_columns(table).to_pandas(integer_object_nulls=True))


def write_log(settings: Settings, events: list[dict[str, Any]]) -> None:
    """The event log that holds these events; and of labels one that is empty."""
    rows = add_columns(pa.Table.from_pylist(events, schema=TRANSACTIONS))
    for path, table in ((settings.transactions_path, rows), (settings.labels_path, pa.Table.from_pylist([], schema=LABELS))):
        path.mkdir(parents=True)
        pq.write_table(table, path / "bench.parquet")


def applied_store(settings: Settings) -> Any:
    """The project's own definitions in a registry of the benchmark's own."""
    store = open_store(settings)
    store.apply(list({id(value): value for value in definitions.feast_objects().values()}.values()))
    return store


def write_models(folder: Path, store: Any) -> None:
    """A model of realistic size for each service, over all its features that are numbers; it has learnt nothing."""
    for name, service in SERVICES.items():
        write_model(folder / name, name, service, store)


def write_model(folder: Path, name: str, service: str, store: Any) -> None:
    features = [
        f"{projection.name_to_use()}__{feature.name}"
        for projection in store.get_feature_service(service).feature_view_projections
        for feature in projection.features
        if feature.name not in ("user_id", "merchant_id", "device_id") and "String" not in str(feature.dtype)
    ]
    folder.mkdir(parents=True)
    booster(len(features)).save_model(folder / "booster.txt")
    contract = {
        "model": name, "kind": "lightgbm", "feature_service": service, "features": features, "categories": {},
        "thresholds": {"review": 1.1, "decline": 1.2},  # who is explained is decided by the load, not by the model
        "calibration": None, "definition_hash": store.definition_hash(service),
    }  # fmt: skip
    (folder / "contract.json").write_text(json.dumps(contract), encoding="utf-8")


def bodies(world: World, with_transaction: bool) -> list[str]:
    """A request of each user; one in twenty asks to be explained."""
    requests: list[dict[str, Any]] = [{"user_id": f"u{n}"} for n in range(world.users)]
    for n, request in enumerate(requests):
        if n % EXPLAINED_ONE_IN == 0:
            request["explain"] = True
        if with_transaction:
            places = {"merchant_id": f"m{n % 200}", "device_id": f"d{n}", "country": "DE", "channel": "app"}
            request["transaction"] = {"event_type": "payment", "amount_cents": 100 + n, **places}
    return [json.dumps(request) for request in requests]


def booster(width: int) -> Any:
    """200 trees of up to 31 leaves over `width` columns of noise with gaps; a lightgbm.Booster."""
    import lightgbm  # the server that is measured must not carry it

    random = np.random.default_rng(1)
    rows = random.normal(size=(3_000, width))
    rows[random.random(rows.shape) < 0.05] = np.nan
    labels = (np.nansum(rows[:, :5], axis=1) + random.normal(size=len(rows)) > 0).astype(float)
    options = {"objective": "binary", "num_leaves": LEAVES, "num_threads": 1, "verbosity": -1, "seed": 1}
    return lightgbm.train(options, lightgbm.Dataset(rows, labels), num_boost_round=TREES)


def bound(folder: Path, store: Any) -> dict[str, Model | str]:
    """The models, bound to the applied definitions."""
    return bind(store, {name: Champion(name, "1", folder / name) for name in SERVICES}, folder / "train.json")
