"""Feast's offline store, with windows: history is evaluated point in time from the log, in process or on Spark."""

import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from feast import FeatureView, RepoConfig
from feast.data_source import DataSource
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.infra.offline_stores.file_source import FileLoggingDestination, FileSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel

from plumbline import log_append, table_pull
from plumbline.engines import evaluation
from plumbline.instant import from_microseconds
from plumbline.retrieval import WindowedRetrievalJob
from plumbline.spec import is_windowed, log_source, view_spec
from plumbline.view_requests import view_requests, without_join_keys


class WindowedOfflineStoreConfig(FeastConfigBaseModel):
    """`offline_store:` of feature_store.yaml.

    engine        local (in process) or spark (the same kernel in Spark tasks)
    spark_master  where Spark runs, for example "local[2]"; used when no session is active
    spark_conf    further Spark settings by name, likewise
    staging_location  folder for to_remote_storage(), seen by every Spark executor; relative to the repo
    """

    type: Literal["plumbline.offline_store.WindowedOfflineStore"] = "plumbline.offline_store.WindowedOfflineStore"
    engine: Literal["local", "spark"] = "local"
    spark_master: str = "local[*]"
    spark_conf: dict[str, str] | None = None
    staging_location: str | None = None


class WindowedOfflineStore(OfflineStore):
    """Historical features of windowed views (StreamFeatureView with aggregations) and of slowly changing ones."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | pa.Table | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Features of each entity row as of its event timestamp; no log is read before the job's result is asked for.

        entity_df  a DataFrame (or Arrow table) with join keys and event timestamps; with engine spark also SQL text or a
                   Spark DataFrame; all its columns come back, its rows in their order, duplicates included
        filter_by_created_timestamp  as known: leave out what was created after the entity row's instant

        Raises ValueError, one sentence, for what cannot be answered, and FeastEntityDFMissingColumnsError.
        """
        requests = view_requests(feature_views, feature_refs, full_feature_names, config.repo_path)
        asked = evaluation(config.offline_store, entity_df, requests, filter_by_created_timestamp)
        keys = [name for name in asked.rows.table.column_names if name != asked.rows.timestamp_column]
        range_of_time = [at or from_microseconds(0) for at in asked.range]  # Feast reads no saved set that has none
        return WindowedRetrievalJob(
            asked.to_arrow,
            repo_path=config.repo_path,
            full_feature_names=full_feature_names,
            on_demand_feature_views=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            metadata=RetrievalMetadata(without_join_keys(feature_views, feature_refs), keys, *range_of_time),
            write=asked.write,
            staging_location=config.offline_store.staging_location,
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """The newest row of each entity with start_date <= time <= end_date."""
        path = table_pull.source_path(_file_source(data_source), config.repo_path)
        columns = (join_key_columns, feature_name_columns, timestamp_field, created_timestamp_column)

        def newest() -> pa.Table:
            table = table_pull.pull_all(path, *columns, start_date, end_date)
            return table_pull.latest_of_each(table, join_key_columns, timestamp_field, created_timestamp_column)

        return WindowedRetrievalJob(newest, repo_path=config.repo_path)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """All rows with start_date <= time <= end_date."""
        path = table_pull.source_path(_file_source(data_source), config.repo_path)
        columns = (join_key_columns, feature_name_columns, timestamp_field, created_timestamp_column)
        return WindowedRetrievalJob(
            lambda: table_pull.pull_all(path, *columns, start_date, end_date), repo_path=config.repo_path
        )

    @staticmethod
    def offline_write_batch(
        config: RepoConfig, feature_view: FeatureView, table: pa.Table, progress: Callable[[int], Any] | None
    ) -> None:
        """Append rows, under the log's own column names, to the log behind a view."""
        log_append.append(log_source(feature_view, config.repo_path), table, _declared_types(config, feature_view))
        if progress is not None:
            progress(table.num_rows)

    @staticmethod
    def write_logged_features(
        config: RepoConfig,
        data: pa.Table | Path,
        source: LoggingSource,
        logging_config: LoggingConfig,
        registry: BaseRegistry,
    ) -> None:
        """Append logged features as one more Parquet file to the folder of a FileLoggingDestination."""
        destination = logging_config.destination
        if not isinstance(destination, FileLoggingDestination):
            raise ValueError(f"Features are logged to files; declare FileLoggingDestination, not {type(destination).__name__}.")
        pads.write_dataset(
            pq.read_table(data) if isinstance(data, Path) else data,
            FileSource.get_uri_for_file_path(config.repo_path, destination.path),
            format="parquet",
            basename_template=f"{uuid.uuid4().hex}-{{i}}.parquet",
            partitioning=destination.partition_by,
            existing_data_behavior="overwrite_or_ignore",
        )


def _declared_types(config: RepoConfig, view: FeatureView) -> dict[str, pa.DataType]:
    """The types of a windowed view's aggregated columns and of event ids, under the names that views use."""
    if not is_windowed(view):
        return {}
    windows = view_spec(view, config.repo_path).windows
    return {"event_id": pa.string()} | {window.column: window.input_type for window in windows}


def _file_source(source: DataSource) -> FileSource:
    if not isinstance(source, FileSource):
        raise ValueError(f"Source '{source.name}' is a {type(source).__name__}; this store reads FileSource.")
    return source
