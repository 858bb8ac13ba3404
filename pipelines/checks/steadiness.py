"""Whether a log goes on as it began: each day as many events of each type as usual, profiles distributed as before."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.population import shares, stability_index

LEAST_DAYS, LEAST_EVENTS = 14, 20
"""Shorter logs, and types with fewer events on the usual day, are not judged."""

FEWEST, MOST = 0.2, 2.5
"""Times the usual (median) day's events, said when a day has less or more. The first and last day are not judged."""

LEAST_PROFILES = 500
BINS, LEAST_SHARE = 10, 1e-4
MOST_PSI = 0.1
"""Population stability index; above 0.1 is commonly called a moderate shift, above 0.25 a large one."""


def days_of(log: Path) -> pd.DataFrame:
    """Times the usual number of events: a row a day (index: its date, text), a column an event type; empty where too few."""
    counted = {folder.name.removeprefix("event_date="): _types(folder) for folder in sorted(log.glob("event_date=*"))}
    days = pd.DataFrame.from_dict(counted, orient="index").sort_index().fillna(0.0).iloc[1:-1]
    if len(days) < LEAST_DAYS:
        return pd.DataFrame()
    usual = days.median()
    return days.loc[:, usual >= LEAST_EVENTS] / usual[usual >= LEAST_EVENTS]


def unusual(times: pd.Series) -> list[str]:
    """The days with fewer or more events than usual, each with its number of times the usual."""
    return [f"{day} ({value:.1f})" for day, value in times[(times < FEWEST) | (times > MOST)].items()]


def shifts_of(profiles: Path) -> dict[str, float]:
    """Column -> population stability index of the newest quarter of the rows against the older half; numbers only.

    A column without LEAST_PROFILES values on both sides is left out.
    """
    rows = pa.concat_tables([pq.read_table(file) for file in sorted(profiles.glob("*.parquet"))])
    rows = rows.sort_by("event_timestamp")
    found = {}
    for field in rows.schema:
        if pa.types.is_integer(field.type) or pa.types.is_floating(field.type):
            values = rows[field.name].cast(pa.float64()).to_numpy()
            old, new = (part[np.isfinite(part)] for part in (values[: len(values) // 2], values[-(len(values) // 4) :]))
            if min(len(old), len(new)) >= LEAST_PROFILES:
                found[field.name] = shift(old, new)
    return found


def shift(old: np.ndarray, new: np.ndarray) -> float:
    """Population stability index of `new` over BINS of equal share of `old`; 0 where nothing moved."""
    edges = np.unique(np.quantile(old, np.linspace(0, 1, BINS + 1)[1:-1]))
    return stability_index(shares(old, edges), shares(new, edges), LEAST_SHARE)


def _types(folder: Path) -> dict[str, int]:
    columns = [
        pq.read_table(file, columns=["event_type"], partitioning=None)["event_type"] for file in folder.glob("*.parquet")
    ]
    counts = pc.value_counts(pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string()))
    return dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))
