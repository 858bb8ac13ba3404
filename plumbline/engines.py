"""Who evaluates a call for historical features: this process or Spark, as feature_store.yaml says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from plumbline import local_engine
from plumbline.entity_rows import EntityRows, entity_rows
from plumbline.instant import from_microseconds
from plumbline.view_evaluation import ViewRequest

if TYPE_CHECKING:
    from plumbline.offline_store import WindowedOfflineStoreConfig

WINDOWS_NEED_ROWS = (
    "Features are as of instants: pass entity_df with join keys and event_timestamp instead of start_date and end_date, "
    "for example the log's own keys and times in that range."
)


@dataclass(frozen=True)
class Evaluation:
    """One call, not yet computed.

    rows      the entity rows, or none of them where they are Spark's: their columns all the same
    range     their earliest and latest instant
    to_arrow  computes the result
    write     writes it to a folder without gathering it anywhere, each file's rows passed through a function first; its
              paths. None where the result is computed in one place anyway
    """

    rows: EntityRows
    range: tuple[datetime | None, datetime | None]
    to_arrow: Callable[[], pa.Table]
    write: Callable[[Path, Callable[[pa.Table], pa.Table]], list[str]] | None


def evaluation(
    config: "WindowedOfflineStoreConfig", entity_df: Any, requests: Sequence[ViewRequest], as_known: bool
) -> Evaluation:
    """How the engine of feature_store.yaml evaluates requests at entity rows.

    entity_df  DataFrame or Arrow table; for Spark also SQL text or a Spark DataFrame

    Raises ValueError, one sentence, for anything else, and FeastEntityDFMissingColumnsError.
    """
    if entity_df is None:
        raise ValueError(WINDOWS_NEED_ROWS)
    if config.engine == "spark":
        return _on_spark(config, entity_df, requests, as_known)
    if isinstance(entity_df, str) or _is_spark(entity_df):
        kind = "SQL" if isinstance(entity_df, str) else "a Spark DataFrame"
        raise ValueError(f"entity_df as {kind} needs `offline_store: {{engine: spark}}`; the local engine takes a DataFrame.")
    rows = _checked(_in_memory(entity_df), requests)
    return Evaluation(rows, _range_of(rows.range_us()), partial(local_engine.features_of, rows, requests, as_known), None)


def _on_spark(
    config: "WindowedOfflineStoreConfig", entity_df: Any, requests: Sequence[ViewRequest], as_known: bool
) -> Evaluation:
    from plumbline import spark, spark_rows  # pyspark is an optional dependency and takes a second to import

    session = spark.session(config)
    rows: spark_rows.Rows
    if isinstance(entity_df, str):
        rows = spark.frame_rows(session.sql(entity_df))
    elif _is_spark(entity_df):
        rows = spark.frame_rows(entity_df)
    else:
        rows = spark_rows.TableRows(_in_memory(entity_df))
    history = spark.History(session, rows, requests, as_known)
    return Evaluation(_checked(rows.empty, requests), _range_of(rows.range_us()), history.to_arrow, history.write)


def _in_memory(entity_df: Any) -> EntityRows:
    if not isinstance(entity_df, pd.DataFrame | pa.Table):
        raise ValueError(f"entity_df must be a pandas DataFrame or a pyarrow Table, not {type(entity_df).__name__}.")
    return entity_rows(entity_df)


def _range_of(span_us: tuple[int, int] | None) -> tuple[datetime | None, datetime | None]:
    """Earliest and latest instant; None where there is none."""
    return (None, None) if span_us is None else (from_microseconds(span_us[0]), from_microseconds(span_us[1]))


def _is_spark(entity_df: object) -> bool:
    return type(entity_df).__module__.startswith("pyspark.sql.")


def _checked(rows: EntityRows, requests: Sequence[ViewRequest]) -> EntityRows:
    rows.require([key for request in requests for key in request.row_keys])
    taken = sorted({name for request in requests for name in request.outputs} & set(rows.table.column_names))
    if taken:
        raise ValueError(f"entity_df already has a column {', '.join(taken)}; rename it, or ask for full_feature_names=True.")
    return rows
