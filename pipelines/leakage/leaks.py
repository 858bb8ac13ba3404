"""Six ways to let the future in, each with the score it shows and the score its model is worth in production."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipelines.leakage.ground import SERVICE, Ground, pooled
from pipelines.training.encoding import Encoding, choose_encoding
from pipelines.training.features import feature_names
from pipelines.training.oversampling import smote
from pipelines.training.parts import Part
from pipelines.training.rivals import filled_by
from pipelines.training.study import fitted, with_placeholders, worth
from plumbline.event_log import read_events
from plumbline.point_in_time import evaluate
from plumbline.spec import is_windowed, view_spec

TEST_SHARE = 0.3
VALIDATION_SHARE = 0.2


@dataclass(frozen=True)
class Leak:
    """apparent: as the leaky procedure measures itself; real: what its model finds on the honest test rows."""

    name: str
    what: str
    apparent: dict[str, Any]
    real: dict[str, Any]


def random_split(ground: Ground) -> Leak:
    """Rows shuffled before they are cut: the model has seen other payments of the very attacks it is tested on."""
    fit, validation, test = _shuffled(pooled(list(ground.parts.values())), ground.seed)
    apparent = worth(test.fraud, fitted(fit, validation, ground.seed)(test.features), ground.seed)
    return Leak("random split", "rows shuffled before the cut", apparent, _real_of_shuffled(ground, _before(ground)))


def smote_before_split(ground: Ground) -> Leak:
    """Frauds added before the cut: the test holds mixtures of frauds that the model was fitted on."""
    fit, validation, test = _shuffled(_oversampled(pooled(list(ground.parts.values())), ground.seed), ground.seed)
    apparent = worth(test.fraud, fitted(fit, validation, ground.seed)(test.features), ground.seed)
    before, encoding = _before(ground), _encoding(ground)
    fit, validation, _ = _shuffled(_oversampled(before, ground.seed), ground.seed)
    test = ground.parts["test"]
    score = fitted(fit, validation, ground.seed)(_as_numbers(test.features, encoding, encoding.matrix(before.features)))
    return Leak("SMOTE before the split", "synthetic frauds on both sides", apparent, worth(test.fraud, score, ground.seed))


def window_includes_itself(ground: Ground) -> Leak:
    """Windows that end after the event, computed afterwards: in training each payment counts itself, at serving it cannot."""
    rows = ground.entity_rows
    later = rows.assign(event_timestamp=rows["event_timestamp"] + pd.Timedelta(microseconds=1))
    return _skewed(
        ground, ground.instead(_features(ground, later, as_known=False)), "window includes the event", "windows end 1 us late"
    )


def labels_known_at_once(ground: Ground) -> Leak:
    """Chargebacks counted from the instant of the payment, a label delay before anybody reported them."""
    features = ground.asked.features
    for view in ground.store.list_stream_feature_views():
        if is_windowed(view) and view.stream_source.name == "labels":
            for name, values in _without_delay(ground, view).items():
                if name in features.column_names:
                    features = features.set_column(features.column_names.index(name), name, values)
    return _skewed(ground, ground.instead(features), "labels known at once", "no chargeback delay in the risk features")


def created_ignored(ground: Ground) -> Leak:
    """created_timestamp ignored: late events are seen early, and rows up to the test's first day have their final label."""
    leaky = ground.instead(_features(ground, ground.entity_rows, as_known=False))
    parts, test = _with_final_labels(leaky), ground.parts["test"]
    seen = fitted(parts["fit"], parts["validation"], ground.seed)(parts["test"].features)
    real = leaky.model(test.features)
    return Leak(
        "created_timestamp ignored",
        "late events and labels seen before they arrived",
        worth(parts["test"].fraud, seen, ground.seed),
        worth(test.fraud, real, ground.seed),
    )


def placeholders_at_serving(ground: Ground) -> Leak:
    """An honest model, asked with zeros where the history should be."""
    test = ground.parts["test"]
    return Leak(
        "placeholders at serving",
        "every history value is 0 when asked",
        worth(test.fraud, ground.model(test.features), ground.seed),
        worth(test.fraud, ground.model(with_placeholders(test.features)), ground.seed),
    )


LEAKS = (
    random_split, smote_before_split, window_includes_itself, labels_known_at_once, created_ignored, placeholders_at_serving,
)  # fmt: skip


def _skewed(ground: Ground, leaky: Ground, name: str, what: str) -> Leak:
    """A model fitted on leaky values: tested on leaky values, and on those that production would serve."""
    test = ground.parts["test"]
    shown = worth(leaky.parts["test"].fraud, leaky.model(leaky.parts["test"].features), ground.seed)
    return Leak(name, what, shown, worth(test.fraud, leaky.model(test.features), ground.seed))


def _with_final_labels(ground: Ground) -> Mapping[str, Part]:
    """Parts without a gap before the test: rows up to its first day, with labels that were reported later."""
    no_gap = replace(ground.split, train_end=ground.split.gap_end)
    return ground.asked.parts(no_gap, fit_known_us=ground.asked.known_until_us)


def _before(ground: Ground) -> Part:
    return pooled([ground.parts["fit"], ground.parts["validation"]])


def _real_of_shuffled(ground: Ground, before: Part) -> dict[str, Any]:
    fit, validation, _ = _shuffled(before, ground.seed)
    test = ground.parts["test"]
    return worth(test.fraud, fitted(fit, validation, ground.seed)(test.features), ground.seed)


def _shuffled(part: Part, seed: int) -> tuple[Part, Part, Part]:
    """Fit, validation and test rows drawn at random."""
    order = np.random.default_rng(seed).permutation(len(part.fraud))
    test, validation = int(TEST_SHARE * len(order)), int(VALIDATION_SHARE * len(order))
    cuts = np.split(order, [len(order) - test - validation, len(order) - test])
    fit, validated, tested = (part.taken(rows) for rows in cuts)
    return fit, validated, tested


def _encoding(ground: Ground) -> Encoding:
    fit = ground.parts["fit"].features
    return choose_encoding(fit, fit.column_names)[0]


def _as_numbers(features: pa.Table, encoding: Encoding, like: np.ndarray) -> pa.Table:
    """Encoded columns with the medians of `like` where nothing is known."""
    matrix = filled_by(like)(encoding.matrix(features))
    return pa.table(list(matrix.T), names=list(encoding.features))


def _oversampled(part: Part, seed: int) -> Part:
    encoding, _ = choose_encoding(part.features, part.features.column_names)
    matrix = encoding.matrix(part.features)
    more, fraud = smote(filled_by(matrix)(matrix), part.fraud, seed)
    table = pa.table(list(more.T), names=list(encoding.features))
    return Part(table, fraud, np.full(len(fraud), np.nan))


def _features(ground: Ground, entity_rows: pd.DataFrame, *, as_known: bool) -> pa.Table:
    service = ground.store.get_feature_service(SERVICE)
    job = ground.store.get_historical_features(
        entity_df=entity_rows, features=service, full_feature_names=True, filter_by_created_timestamp=as_known
    )
    return job.to_arrow().select(feature_names(service))


def _without_delay(ground: Ground, view: Any) -> dict[str, pa.ChunkedArray]:
    """The columns of a view over labels, each label counted at the instant of its transaction."""
    spec = view_spec(view, ground.store.repo_path)
    at_once = replace(spec, source=replace(spec.source, timestamp_field="event_timestamp"))
    events = read_events(at_once.source, at_once.columns, join_keys=at_once.join_keys)
    rows = pa.Table.from_pandas(ground.entity_rows, preserve_index=False)
    at = rows["event_timestamp"].cast(pa.timestamp("us", tz="UTC"))
    values = evaluate(events, at_once, rows.select(list(at_once.join_keys)), at, False)
    return {f"{view.name}__{name}": values[name] for name in values.column_names}
