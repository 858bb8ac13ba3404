"""The entity rows of a request as Feast hands them over, as an Arrow table and their instants."""

from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from feast.errors import FeastEntityDFMissingColumnsError
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df

from plumbline.instant import FIRST_US, LAST_US
from plumbline.log_times import microseconds_utc


@dataclass(frozen=True)
class EntityRows:
    """n entity rows with all the columns they came with, in their order.

    table             the rows; their event timestamp is zoned UTC, in its own unit
    timestamp_column  which column that is
    at                (n,) the same, timestamp[us, UTC]; nanoseconds are cut downwards
    """

    table: pa.Table
    timestamp_column: str
    at: pa.ChunkedArray

    def range_us(self) -> tuple[int, int] | None:
        """Earliest and latest instant in microseconds since the epoch; None where there is none."""
        bounds = pc.min_max(self.at.cast(pa.int64())).as_py()
        return None if bounds["min"] is None else (bounds["min"], bounds["max"])

    def require(self, columns: list[str]) -> None:
        """Raise FeastEntityDFMissingColumnsError unless all columns are there."""
        missing = [name for name in columns if name not in self.table.column_names]
        if missing:
            raise FeastEntityDFMissingColumnsError(sorted({*columns, self.timestamp_column}), missing)


def entity_rows(entity_df: pd.DataFrame | pa.Table) -> EntityRows:
    """Read a DataFrame (or Arrow table) of entity rows.

    The event timestamp is the column event_timestamp or else the only datetime column, as Feast has it; naive times are
    UTC, text is parsed. Raises EntityTimestampInferenceException when there is no such column, and ValueError for an instant
    outside the years 1 to 9999.
    """
    if isinstance(entity_df, pa.Table):
        name = infer_event_timestamp_from_entity_df(dict(entity_df.schema.empty_table().to_pandas().dtypes))
        table = entity_df
    else:
        name = infer_event_timestamp_from_entity_df(dict(entity_df.dtypes))
        # one thread: several would wait for the GIL
        table = pa.Table.from_pandas(_with_parsed(entity_df, name), preserve_index=False, nthreads=1)
    column = table[name]
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp(column.type.unit, tz="UTC"))
        table = table.set_column(table.schema.get_field_index(name), name, column)
    rows = EntityRows(table, name, microseconds_utc(column, f"Column '{name}' of the entity rows"))
    span = rows.range_us()
    if span is not None and not FIRST_US <= span[0] <= span[1] <= LAST_US:
        raise ValueError(f"Column '{name}' of the entity rows holds an instant outside the years 1 to 9999.")
    return rows


def _with_parsed(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The frame, with times that pandas holds as text or as Python objects parsed."""
    times = frame[name]
    if not (pd.api.types.is_object_dtype(times) or pd.api.types.is_string_dtype(times)):
        return frame
    text = times.map(type).eq(str).any()
    return frame.assign(**{name: pd.to_datetime(times, utc=True, format="ISO8601" if text else None)})
