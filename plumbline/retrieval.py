"""The lazy result of a call for historical features, as Feast hands it to its user."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import FileSource, SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.saved_dataset import SavedDatasetStorage

from plumbline.log_append import write_parquet

EXACT_IN_FLOAT64 = 2**53


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
    ) -> None:
        self._evaluate = evaluate
        self._repo_path = repo_path
        self._full_feature_names = full_feature_names
        self._on_demand_feature_views = list(on_demand_feature_views)
        self._metadata = metadata

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return self._on_demand_feature_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        return self._metadata

    def to_df(self, validation_reference: Any = None, timeout: int | None = None) -> pd.DataFrame:
        """Compute as a DataFrame, rows in the order of the entity rows."""
        return _to_pandas(self.to_arrow(validation_reference=validation_reference, timeout=timeout))

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._evaluate()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return _to_pandas(self._evaluate())

    def persist(self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Compute and write as Parquet: a path that ends in .parquet is a file, any other a folder of one file.

        Raises SavedDatasetLocationAlreadyExists unless allow_overwrite, ValueError for other storage than files.
        """
        if not isinstance(storage, SavedDatasetFileStorage):
            raise ValueError(f"Training sets are saved to files; pass SavedDatasetFileStorage, not {type(storage).__name__}.")
        path = Path(FileSource.get_uri_for_file_path(self._repo_path, storage.file_options.uri))
        if path.exists() and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=str(path))
        table = self.to_arrow(timeout=timeout)
        if path.suffix == ".parquet":
            write_parquet(table, path)
            return
        write_parquet(table, path / "part-0.parquet")
        for stale in path.glob("*.parquet"):
            if stale.name != "part-0.parquet":
                stale.unlink()


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
