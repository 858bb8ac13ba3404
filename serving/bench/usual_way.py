"""The usual way: values computed beforehand in Feast's own Redis store, an sklearn pipeline behind MLflow's pyfunc."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

VIEWS, FEATURES_A_VIEW = 4, 13
USERS = 2_000
REFERENCES = [f"view{view}:f{number}" for view in range(VIEWS) for number in range(FEATURES_A_VIEW)]
"""In the order of the pipeline's columns; a view's own schema has none after `apply`."""


def prepare(folder: Path, store: str) -> None:
    """A Feast repo of four views with 13 features each, values of 2,000 users online, and a saved pipeline."""
    folder.mkdir(parents=True)
    opened = _store(folder, store)
    views = _views(folder)
    opened.apply([_user(), *views])
    random, now = np.random.default_rng(3), datetime.now(UTC)
    for view in views:
        values = {field.name: random.normal(size=USERS) for field in view.schema if field.name != "user_id"}
        rows = pd.DataFrame({"user_id": [f"u{n}" for n in range(USERS)], "event_timestamp": now, **values})
        opened.write_to_online_store(view.name, rows)
    _save_pipeline(folder / "model", [reference.replace(":", "__") for reference in REFERENCES])


def usual_way(folder: Path, store: str) -> Callable[[str], float]:
    """A function from a user's id to a score."""
    import mlflow

    opened, model = _store(folder, store), mlflow.pyfunc.load_model(str(folder / "model"))
    names = [reference.replace(":", "__") for reference in REFERENCES]

    def predict(user_id: str) -> float:
        answer = opened.get_online_features(REFERENCES, [{"user_id": user_id}], full_feature_names=True).to_df()
        return float(model.predict(answer[names])[0])

    return predict


def _store(folder: Path, store: str) -> Any:
    from feast import FeatureStore, RepoConfig

    return FeatureStore(
        config=RepoConfig(
            project="usual", provider="local", registry=str(folder / "registry.db"), entity_key_serialization_version=3,
            online_store={"type": "redis", "connection_string": store}, offline_store={"type": "file"},
        )
    )  # fmt: skip


def _user() -> Any:
    from feast import Entity, ValueType

    return Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)


def _views(folder: Path) -> list[Any]:
    from feast import FeatureView, Field, FileSource
    from feast.types import Float64, String

    source = FileSource(name="usual", path=str(folder / "nothing.parquet"), timestamp_field="event_timestamp")
    names = [f"f{n}" for n in range(FEATURES_A_VIEW)]
    schema = [Field(name="user_id", dtype=String), *(Field(name=name, dtype=Float64) for name in names)]
    return [
        FeatureView(name=f"view{n}", entities=[_user()], ttl=timedelta(days=30), source=source, schema=schema)
        for n in range(VIEWS)
    ]


def _save_pipeline(folder: Path, names: list[str]) -> None:
    import mlflow
    from lightgbm import LGBMClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    random = np.random.default_rng(4)
    rows = pd.DataFrame(random.normal(size=(3_000, len(names))), columns=names)
    classifier = LGBMClassifier(n_estimators=200, num_leaves=31, n_jobs=1, verbosity=-1)
    pipeline = make_pipeline(SimpleImputer().set_output(transform="pandas"), classifier)
    pipeline.fit(rows, rows.iloc[:, 0] > 0)
    trusted = ["numpy.dtype", "collections.OrderedDict", "lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier"]
    mlflow.sklearn.save_model(pipeline, str(folder), skops_trusted_types=trusted, pip_requirements=[])
