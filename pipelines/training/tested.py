"""What is known of the test rows beside their features: whose they are, what they cost, and which scenario made them."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from feature_repo.settings import Settings
from pipelines.training.model_files import SavedModel
from pipelines.training.parts import Part
from pipelines.training.rows import Examples
from pipelines.training.thresholds import Costs, losses

LATENCY_ROWS = 40
FEW_EVENTS = 5
LARGE = 0.9
COMMONEST = 3


def tested_rows(settings: Settings, examples: Examples, mask: np.ndarray, part: Part) -> dict[str, Any]:
    """user_id, time_us, fraud, loss_cents (0 where honest) and scenario of the n rows where mask is true, each (n,).

    scenario is None for accounts, and where no source told one. Only evaluation reads it.
    """
    rows = examples.entity_rows[mask]
    is_transaction = examples.kind == "transaction"
    event_id = examples.log.transactions["event_id"].iloc[rows.index] if is_transaction else None
    return {
        "user_id": rows["user_id"].to_numpy(),
        "time_us": examples.start_us[mask],
        "fraud": part.fraud,
        "loss_cents": losses(part.fraud, part.loss_cents, Costs()),
        "scenario": None if event_id is None else _scenarios(settings, event_id),
    }


def _scenarios(settings: Settings, event_id: pd.Series) -> np.ndarray | None:
    folder = settings.data_dir / "scenario"
    if not folder.exists():
        return None
    known = pads.dataset(folder, format="parquet").to_table(columns=["event_id", "scenario"]).to_pandas()
    if known.empty:
        return None
    return known.drop_duplicates("event_id").set_index("event_id")["scenario"].reindex(event_id).to_numpy(dtype=object)


def named_slices(features: pa.Table, tested: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Rows (n,) bool on which a challenger may not be worse than the champion: by channel and event type, new users, large
    amounts, and each scenario against all honest rows; what the features or the source do not have is left out."""
    slices: dict[str, np.ndarray] = {}
    for name in ("channel", "event_type"):
        slices |= _by_text(features, f"transaction_context__{name}", name)
    slices |= _above_share(features, "transaction_context__amount_cents", "large amounts")
    events = "user_activity__event_id_count_30d"
    if events in features.column_names:
        slices["new users"] = np.asarray(pc.fill_null(pc.less_equal(features[events], FEW_EVENTS), True))
    if tested["scenario"] is not None:
        honest, scenario = tested["fraud"] == 0, tested["scenario"]
        for name in sorted(set(scenario[~pd.isna(scenario)])):
            slices[f"scenario {name}"] = honest | ((scenario == name) & ~honest)
    return slices


def unseen_notes(fit: pa.Table, test: pa.Table, features: tuple[str, ...]) -> list[str]:
    """One sentence for each text feature of which test rows have values that no fit row had: serving meets them too."""
    notes = []
    for name in features:
        if pa.types.is_string(fit[name].type) or pa.types.is_large_string(fit[name].type):
            known = pc.is_in(test[name], value_set=pc.unique(fit[name].combine_chunks()), skip_nulls=True)
            unseen = pc.and_(pc.invert(known), pc.is_valid(test[name]))
            if count := pc.sum(unseen).as_py():
                notes.append(
                    f"{count:,} of {len(test):,} test rows have a {name} that no fit row had; such a value is scored as "
                    "missing, in serving too. Train again once it has labels."
                )
    return notes


def latency_ms(saved: SavedModel, features: pa.Table) -> float:
    """Processor time of this process to score one row, features at hand; the median of LATENCY_ROWS."""
    taken = []
    for at in range(min(LATENCY_ROWS, features.num_rows)):
        started = time.process_time_ns()
        saved.score(features.slice(at, 1))
        taken.append((time.process_time_ns() - started) / 1e6)
    return float(np.median(taken)) if taken else 0.0


def _by_text(features: pa.Table, name: str, spoken: str) -> dict[str, np.ndarray]:
    if name not in features.column_names or not pa.types.is_string(features[name].type):
        return {}
    values = features[name].to_pandas()
    return {f"{spoken} {value}": (values == value).to_numpy() for value in values.value_counts().index[:COMMONEST]}


def _above_share(features: pa.Table, name: str, spoken: str) -> dict[str, np.ndarray]:
    if name not in features.column_names:
        return {}
    values = features[name].to_pandas().to_numpy(dtype=np.float64)
    if np.isnan(values).all():
        return {}
    return {spoken: values > np.nanquantile(values, LARGE)}
