"""What is odd about labels and entity rows: said in the report, because it biases what is learned."""

import pandas as pd

from pipelines.training.labels import KnownLog
from pipelines.training.rows import Examples


def label_notes(log: KnownLog, examples: Examples) -> list[str]:
    """One sentence for labels that were known before their transaction happened, and one for entity rows that stand twice."""
    return [*_labels_before_events(log), *_repeated_rows(examples)]


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
