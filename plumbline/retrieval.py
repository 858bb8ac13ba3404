"""The lazy result of a call for historical features, as Feast hands it to its user."""

import uuid
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import FileSource, SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.protos.feast.core.OnDemandFeatureView_pb2 import OnDemandFeatureView as OnDemandFeatureViewProto
from feast.saved_dataset import SavedDatasetStorage
from feast.types import from_feast_to_pyarrow_type

from plumbline.log_append import write_parquet

EXACT_IN_FLOAT64 = 2**53
Write = Callable[[Path, Callable[[pa.Table], pa.Table]], list[str]]
"""Writes the result to a folder, passing the rows of each file through a function first; the files' paths."""


class WindowedRetrievalJob(RetrievalJob):
    """Computes each time it is asked: to_arrow, to_df, persist. On-demand views are applied by Feast on top.

    to_arrow keeps every type: a nullable integer stays int64. to_df follows Feast and pandas: integers with nulls
    become float64, except in a column where that would change one (beyond 2^53), which comes as pandas' nullable Int64.
    """

    def __init__(
        self,
        evaluate: Callable[[], pa.Table],
        *,
        repo_path: Path | str | None,
        full_feature_names: bool = False,
        on_demand_feature_views: Sequence[OnDemandFeatureView] = (),
        metadata: RetrievalMetadata | None = None,
        write: Write | None = None,
        staging_location: str | None = None,
    ) -> None:
        self._evaluate = evaluate
        self._repo_path = repo_path
        self._full_feature_names = full_feature_names
        self._on_demand_feature_views = list(on_demand_feature_views)
        self._metadata = metadata
        self._write = write
        self._staging_location = staging_location

    @property
    def full_feature_names(self) -> bool:
        """Whether features are named `<view>__<name>`."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """The views that Feast computes on top of the result."""
        return self._on_demand_feature_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """The features, keys and range of time asked for, as Feast records them of a saved dataset."""
        return self._metadata

    def to_df(self, validation_reference: Any = None, timeout: int | None = None) -> pd.DataFrame:
        """Compute as a DataFrame, rows in the order of the entity rows."""
        return _to_pandas(self.to_arrow(validation_reference=validation_reference, timeout=timeout))

    def to_sql(self) -> str:
        """Refused: windows are computed by compiled loops, not by a query."""
        raise NotImplementedError("Windowed features are computed without SQL; use to_arrow(), to_df() or persist().")

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._evaluate()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return _to_pandas(self._evaluate())

    def persist(self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Compute and write as Parquet, for create_saved_dataset; rows keep their order.

        Engine local: a path that ends in .parquet is a file, any other a folder of one file. Engine spark: a folder, each of
        whose files a task wrote, nothing passing through the driver; executors must see the path. Either appears whole.
        Timestamps are written in microseconds, as Spark reads them, whatever unit the entity rows came in.

        Raises SavedDatasetLocationAlreadyExists unless allow_overwrite, ValueError for other storage than files.
        """
        if not isinstance(storage, SavedDatasetFileStorage):
            raise ValueError(f"Training sets are saved to files; pass SavedDatasetFileStorage, not {type(storage).__name__}.")
        path = Path(FileSource.get_uri_for_file_path(self._repo_path, storage.file_options.uri))
        if path.exists() and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=str(path))
        self._save(path)

    def supports_remote_storage_export(self) -> bool:
        """Whether to_remote_storage has a place to write to: `offline_store: {staging_location: ...}`."""
        return self._staging_location is not None

    def to_remote_storage(self) -> list[str]:
        """Compute and write as Parquet below the staging location, in a new folder each time; the files in order of rows.

        Timestamps are in microseconds, as persist writes them; to_arrow keeps the unit of the entity rows.
        Raises ValueError where feature_store.yaml names no staging location.
        """
        if self._staging_location is None:
            raise ValueError("to_remote_storage needs a place to write to: `offline_store: {staging_location: <folder>}`.")
        staging = Path(FileSource.get_uri_for_file_path(self._repo_path, self._staging_location))
        return self._save(staging / uuid.uuid4().hex)

    def _save(self, path: Path) -> list[str]:
        if self._write is not None:
            return self._write(path, self._on_top())
        table = self.to_arrow()
        if path.suffix == ".parquet" and not path.is_dir():
            write_parquet(table, path)
            return [str(path)]
        write_parquet(table, path / "part-0.parquet")
        for stale in path.glob("*.parquet"):
            if stale.name != "part-0.parquet":
                stale.unlink()
        return [str(path / "part-0.parquet")]

    def _on_top(self) -> Callable[[pa.Table], pa.Table]:
        """What adds the on-demand views' columns to some of the rows, in whatever process."""
        views = [view.to_proto().SerializeToString() for view in self._on_demand_feature_views]
        return partial(with_on_demand_views, views, self._metadata, self._full_feature_names)


def with_on_demand_views(
    views: Sequence[bytes], metadata: RetrievalMetadata | None, full_feature_names: bool, table: pa.Table
) -> pa.Table:
    """Features with the columns of on-demand views (serialized), in their declared types whatever rows there are."""
    if not views:
        return table
    restored = [OnDemandFeatureView.from_proto(OnDemandFeatureViewProto.FromString(view)) for view in views]
    job = WindowedRetrievalJob(
        lambda: table,
        repo_path=None,
        full_feature_names=full_feature_names,
        on_demand_feature_views=restored,
        metadata=metadata,
    )
    done = job.to_arrow()
    for view in restored:
        prefix = f"{view.projection.name_to_use()}__" if full_feature_names else ""
        for field in view.features:
            place = done.schema.get_field_index(prefix + field.name)
            if place >= table.num_columns:
                done = done.set_column(place, prefix + field.name, done[place].cast(from_feast_to_pyarrow_type(field.dtype)))
    return done


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    frame = table.to_pandas().reset_index(drop=True)
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_integer(column.type) and column.null_count and _beyond_float64(column):
            nullable = {column.type: pd.Int64Dtype() if pa.types.is_signed_integer(column.type) else pd.UInt64Dtype()}
            frame[name] = column.to_pandas(types_mapper=nullable.get)
    return frame


def _beyond_float64(column: pa.ChunkedArray) -> bool:
    bounds = pc.min_max(column).as_py()
    return any(bound is not None and abs(bound) > EXACT_IN_FLOAT64 for bound in bounds.values())
