"""Stock feature views: values that somebody computed already, as many rows, keys and features as the windows have."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from feast import FeatureView, Field, FileSource
from feast.types import Int64

from pipelines.bench.repos import TIMES, USER

TTL = timedelta(days=3650)


def write_table(log: Path, features: int, path: Path) -> Path:
    """A Parquet file with the log's users and times, row for row, and `features` integers a row in place of the payload."""
    random = np.random.default_rng(5)
    dataset = pads.dataset(log)
    keys = dataset.schema
    schema = pa.schema(
        [keys.field(name) for name in ("user_id", *TIMES.values())]
        + [pa.field(name, pa.int64()) for name in names_of(features)]
    )
    with pq.ParquetWriter(path, schema) as writer:
        for batch in dataset.to_batches(columns=schema.names[:3], batch_size=1_000_000):
            values = [pa.array(random.integers(0, 10**6, batch.num_rows)) for _ in range(features)]
            writer.write_batch(pa.record_batch([*batch.columns, *values], schema=schema))
    return path


def names_of(features: int) -> list[str]:
    """f0, f1, ..."""
    return [f"f{number}" for number in range(features)]


def file_view(name: str, path: Path, features: int) -> FeatureView:
    """A stock view over the file, for Feast's own local engine."""
    return _view(name, FileSource(name=f"{name}_table", path=str(path), **TIMES), features)


def spark_view(name: str, path: Path, features: int) -> FeatureView:
    """The same for Feast's own Spark engine."""
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource

    return _view(name, SparkSource(name=f"{name}_table", path=str(path), file_format="parquet", **TIMES), features)


def _view(name: str, source: object, features: int) -> FeatureView:
    schema = [Field(name=feature, dtype=Int64) for feature in names_of(features)]
    return FeatureView(name=name, entities=[USER], ttl=TTL, schema=schema, source=source)


def span_of(end: datetime) -> tuple[datetime, datetime]:
    """START and END of a materialize that takes every row."""
    return end - TTL / 2, end + timedelta(days=1)
