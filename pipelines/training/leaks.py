"""Columns that are the label under another name: found by what each feature alone is worth, before anything is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from pipelines.training.parts import Part

LEAST_AVERAGE_PRECISION = 0.98
SUSPICIOUS_AVERAGE_PRECISION = 0.9
"""From here a column of the source is kept and warned about: the label with a few corrections looks like this."""

LEAST_FRAUDS = 20
MOST_OF_A_CLASS = 5_000
"""Rows of each class that are looked at: what is the label for five thousand is it for all."""

TAKEN_AS_THEY_ARE = ("user_profile__", "user_attributes__")
OWN_TEXTS = tuple(f"transaction_context__{name}" for name in ("event_type", "category", "channel", "country"))
"""Columns of the source itself. Windows end before the event, and an amount is known when it is asked: they cannot know
more than they should, however well they tell."""


@dataclass(frozen=True)
class Leak:
    """A feature that alone ranks the frauds before the honest rows it was not fitted on."""

    feature: str
    average_precision: float
    auc: float
    rows: int

    def __str__(self) -> str:
        return (
            f"{self.feature} alone tells fraud from honest rows (average precision {self.average_precision:.3f}, AUC "
            f"{self.auc:.3f} on {self.rows:,} rows): it is the label under another name, or was filled in after the outcome "
            "was known. Take its column out of the mapping (`attributes`, `category`, ...) and load again."
        )


def may_leak(feature: str) -> bool:
    """Whether a feature is a column of the source taken as it is, so that it may hold what was only known later.

    >>> may_leak("user_attributes__score"), may_leak("user_payments__payment_cents_sum_1d")
    (True, False)
    """
    return feature.startswith(TAKEN_AS_THEY_ARE) or feature in OWN_TEXTS


def find_leaks(features: pa.Table, fraud: np.ndarray, seed: int) -> list[Leak]:
    """The features among the source's own columns that alone are the label; fraud (n,) is 1.0 or 0.0.

    Each is judged by a tree of a few leaves, fitted on one half of the rows and measured on the other, so that neither
    many different texts nor a code in the middle of others hides or feigns a leak; a null is a value like any other.
    Fewer than LEAST_FRAUDS frauds or honest rows say nothing.
    """
    return leaks_and_suspects(features, fraud, seed)[0]


def leaks_and_suspects(features: pa.Table, fraud: np.ndarray, seed: int) -> tuple[list[Leak], list[str]]:
    """find_leaks, and a warning for each of the source's own columns that alone is nearly the label."""
    alone = _alone(features, [name for name in features.column_names if may_leak(name)], fraud, seed)
    leaks = [leak for leak in alone if leak.average_precision >= LEAST_AVERAGE_PRECISION]
    suspects = [leak for leak in alone if SUSPICIOUS_AVERAGE_PRECISION <= leak.average_precision < LEAST_AVERAGE_PRECISION]
    return leaks, [
        f"{suspect.feature} alone has an average precision of {suspect.average_precision:.3f} (on {suspect.rows:,} rows) and "
        "was kept: if it is written or corrected after the outcome is known, take its column out of the mapping."
        for suspect in suspects
    ]


def too_good(features: pa.Table, fraud: np.ndarray, average_precision: float, seed: int) -> list[str]:
    """A warning where a model finds nearly all frauds and nothing else: the outcome may be in an id or an amount, which
    cannot be taken out. features (n, k) are the model's own, on the test rows."""
    alone = _alone(features, features.column_names, fraud, seed) if average_precision >= LEAST_AVERAGE_PRECISION else []
    if not alone:
        return []
    best = max(alone, key=lambda leak: leak.average_precision)
    return [
        f"An average precision of {average_precision:.3f} is rarer than a leak: {best.feature} alone has "
        f"{best.average_precision:.3f} (on {best.rows:,} rows). See whether the outcome is written into an id, an amount or a "
        "time of the source, or frauds come from another file than honest rows."
    ]


def _alone(features: pa.Table, names: Sequence[str], fraud: np.ndarray, seed: int) -> list[Leak]:
    """What each of the named features is worth alone; nothing where there are too few frauds or honest rows to say."""
    rows = _of_each_class(fraud, seed)
    known = fraud[rows]
    if min(known.sum(), len(known) - known.sum()) < LEAST_FRAUDS:
        return []
    halves = np.arange(len(rows)) % 2 == 0
    return [_judged(name, features[name].take(pa.array(rows)), known, halves) for name in names]


def without_leaks(parts: Mapping[str, Part], seed: int) -> tuple[dict[str, Part], list[str]]:
    """The parts without the features that the fit and validation rows show to be the label, and a warning for each of them
    and for each that is nearly the label."""
    seen = pa.concat_tables([parts["fit"].features, parts["validation"].features])
    fraud = np.concatenate([parts["fit"].fraud, parts["validation"].fraud])
    leaks, suspected = leaks_and_suspects(seen, fraud, seed)
    names = [leak.feature for leak in leaks]
    kept = {name: replace(part, features=part.features.drop_columns(names)) for name, part in parts.items()}
    return kept, [*(f"{leak} The model was trained without it." for leak in leaks), *suspected]


def _of_each_class(fraud: np.ndarray, seed: int) -> np.ndarray:
    """Up to MOST_OF_A_CLASS rows of each class in random order."""
    random = np.random.default_rng(seed)
    classes: Sequence[np.ndarray] = [random.permutation(np.flatnonzero(fraud == kind))[:MOST_OF_A_CLASS] for kind in (0, 1)]
    return random.permutation(np.concatenate(classes))


def _judged(name: str, values: pa.ChunkedArray, fraud: np.ndarray, halves: np.ndarray) -> Leak:
    """The column by its values or, where it is worth more, by which rows have one: a case number, given to frauds alone,
    is another in every row."""
    filled = pa.chunked_array([pc.cast(pc.is_valid(values), pa.int8())])
    score = max((_scored(each, fraud, halves) for each in (values, filled)), key=lambda s: average_precision_score(fraud, s))
    return Leak(name, float(average_precision_score(fraud, score)), float(roc_auc_score(fraud, score)), len(fraud))


def _scored(values: pa.ChunkedArray, fraud: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """(n,) what a small tree, fitted on the other half, says of each row."""
    score = np.empty(len(fraud))
    for fit in (halves, ~halves):
        column = _numbers(values, fraud, fit)
        tree = DecisionTreeClassifier(max_leaf_nodes=4, min_samples_leaf=5, random_state=0).fit(column[fit], fraud[fit])
        score[~fit] = tree.predict_proba(column[~fit])[:, 1]
    return score


def _numbers(values: pa.ChunkedArray, fraud: np.ndarray, fit: np.ndarray) -> np.ndarray:
    """(n, 1): numbers as they are, texts as the share of frauds that the fit half has with them; null below all."""
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        numbers = pc.cast(values, pa.int64() if pa.types.is_timestamp(values.type) else pa.float64(), safe=False)
        column = np.asarray(numbers.to_numpy(), dtype=np.float64)
        below = np.nanmin(column, initial=0.0) - 1
        return np.where(np.isnan(column), below, column)[:, None]
    codes = np.array(pc.fill_null(pc.dictionary_encode(values).combine_chunks().indices, -1).to_numpy()) + 1
    seen = np.bincount(codes[fit], minlength=codes.max() + 1)
    frauds = np.bincount(codes[fit], weights=fraud[fit], minlength=codes.max() + 1)
    share = np.where(seen > 0, frauds / np.maximum(seen, 1), fraud[fit].mean())
    return share[codes][:, None]
