"""What is odd about labels and entity rows: said in the report, because it biases what is learned."""

import numpy as np
import pandas as pd

from pipelines.training.labels import KnownLog
from pipelines.training.rows import Examples
from pipelines.training.split import is_sparse

MOST_LABELLED = 0.9
LEAST_EVENTS = 100


def label_notes(log: KnownLog, examples: Examples) -> list[str]:
    """One sentence each for labels that were known before their transaction happened, for entity rows that stand twice, and
    for a log of one user, one with few labels and one with events far from all others."""
    return [
        *_labels_before_events(log),
        *_repeated_rows(examples),
        *_one_user(log),
        *_unlabelled(log, examples),
        *_far_away(log),
    ]


def _far_away(log: KnownLog) -> list[str]:
    times = log.transactions["time_us"].to_numpy()
    if len(times) < LEAST_EVENTS or not is_sparse(times):
        return []
    first, last = (str(np.datetime64(int(at_us), "us"))[:10] for at_us in (times[0], times[-1]))
    return [
        f"A few of {len(times):,} events lie far from all others (from {first} to {last}): is a date among them wrong? The "
        "folds are cut by time, and may be empty there."
    ]


def _unlabelled(log: KnownLog, examples: Examples) -> list[str]:
    """Of the event types of which any is labelled, up to the last labelled event."""
    if examples.kind != "transaction":
        return []
    labelled = log.transactions.loc[examples.entity_rows.index]
    last_us, kinds = labelled["time_us"].max(), labelled["event_type"].unique()
    alike = (log.transactions["time_us"] <= last_us) & log.transactions["event_type"].isin(kinds)
    if len(labelled) >= MOST_LABELLED * alike.sum():
        return []
    return [
        f"Only {len(labelled):,} of {alike.sum():,} such events have a known label: scores are probabilities among labelled "
        "ones, and too high for the others if frauds were looked for. Where the others are honest, label them so."
    ]


def _one_user(log: KnownLog) -> list[str]:
    users = log.transactions["user_id"].dropna().unique()
    if len(users) != 1:
        return []
    return [f"All {len(log.transactions):,} events are of one user, {users[0]!r}: is that the column to map to `user_id`?"]


def _labels_before_events(log: KnownLog) -> list[str]:
    happened = log.transactions.set_index("event_id")["time_us"].reindex(log.labels["transaction_event_id"]).to_numpy()
    early = int((log.labels["created_us"].to_numpy() < happened).sum())
    if not early:
        return []
    return [
        f"{early:,} of {len(log.labels):,} labels were known before their transaction happened: a clock or a mapping is wrong "
        "(`label: {delay:}` or its `created_timestamp`); features over labels may know the outcome there."
    ]


def _repeated_rows(examples: Examples) -> list[str]:
    rows: pd.DataFrame = examples.entity_rows
    repeated = int(rows.duplicated().sum())
    if not repeated:
        return []
    return [
        f"{repeated:,} of {len(rows):,} entity rows repeat another one in every column, the instant included; each counts. "
        "If the source delivers events twice, map an `event_id`: of rows with one id the first stays."
    ]
