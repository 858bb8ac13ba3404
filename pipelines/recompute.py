"""Recompute logged answers from the event log: the events before their instant, up to their positions, nothing else."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from feast.errors import FeatureViewNotFoundException
from feast.on_demand_feature_view import OnDemandFeatureView

from pipelines import applied_events, known_rows
from pipelines.applied_events import Asked
from plumbline import FeatureStore
from plumbline.event_log import history_generation, log_positions
from plumbline.spec import is_windowed, log_source
from plumbline.view_spec import LogSource, ViewSpec

RELATIVE_TOLERANCE = 1e-9
SUM_TOLERANCE = 1e-15
STD_TOLERANCE = 3e-15
"""Design, section 2: floats agree within 1e-9, or 1e-15 of the sum of magnitudes, std 3e-15 of the largest one."""

Answered = Mapping[str, Any]
"""A record of topic `decisions`: entity_row, as_of (RFC 3339), positions, features (full names)."""


class NotYetInLogError(RuntimeError):
    """The log does not reach an answer's positions yet; the archive is behind."""


class UnverifiableError(RuntimeError):
    """The log cannot say: the history was replaced since, the answer rests on pushed rows, or nobody declares it now."""


@dataclass(frozen=True)
class Compared:
    """One feature of an answer: as served and as recomputed."""

    feature: str
    online: object
    offline: object
    equal: bool


@dataclass(frozen=True)
class Checked:
    """What the log says of one answer: every feature compared, or why that could not be done (now, or ever)."""

    answer: Answered
    compared: Sequence[Compared] = ()
    problem: NotYetInLogError | UnverifiableError | None = None

    @property
    def differing(self) -> list[Compared]:
        return [each for each in self.compared if not each.equal]


class Views:
    """The applied views by name, and how far the logs behind them reach, each asked for once."""

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._by_name: dict[str, Any] = {}
        self._reached: dict[str, tuple[dict[int, int], int]] = {}
        self._read_by: dict[tuple[str, ...], set[str]] = {}

    def named(self, name: str) -> Any:
        """A Feast view, or the ViewSpec of a windowed one. Raises UnverifiableError when it is applied no more."""
        if name not in self._by_name:
            try:
                view = self._store.registry.get_any_feature_view(name, self._store.project)
            except FeatureViewNotFoundException:
                raise UnverifiableError(f"view {name} is not applied any more.") from None
            self._by_name[name] = self._store.layout(name).spec if is_windowed(view) else view
        return self._by_name[name]

    def source(self, view: Any) -> LogSource:
        """The log of a slowly changing view."""
        return log_source(view, self._store.repo_path)

    def reached(self, source: LogSource) -> tuple[dict[int, int], int]:
        """Up to which offset of each partition the log can be trusted, and the generation of its history."""
        if source.name not in self._reached:
            self._reached[source.name] = log_positions(source), history_generation(source)
        return self._reached[source.name]

    def read_by(self, full_names: Iterable[str]) -> set[str]:
        """Names of the views that features come from, those behind on-demand views included.

        Raises UnverifiableError when one is declared no more.
        """
        asked = tuple(full_names)
        if asked not in self._read_by:
            self._read_by[asked] = self._behind(asked)
        return self._read_by[asked]

    def _behind(self, full_names: Sequence[str]) -> set[str]:
        names = {full_name.partition("__")[0] for full_name in full_names}
        declared = {f"{name}__{feature}" for name in names for feature in _features(self.named(name))}
        for full_name in full_names:
            if full_name not in declared:
                raise UnverifiableError(f"feature {full_name} is not declared any more.")
        on_demand = [view for view in map(self.named, names) if isinstance(view, OnDemandFeatureView)]
        return names | {s.name_to_use() for view in on_demand for s in view.source_feature_view_projections.values()}


def compare(store: FeatureStore, answer: Answered) -> list[Compared]:
    """Every feature of an answer against the log, in the answer's order.

    Integers and text must be equal, floats agree by the rules of parity. Raises NotYetInLogError or UnverifiableError.
    """
    (checked,) = compare_all(store, [answer])
    if checked.problem is not None:
        raise checked.problem
    return list(checked.compared)


def recompute(store: FeatureStore, answer: Answered) -> dict[str, object]:
    """Full name -> value for every feature of an answer, from the log alone; see compare()."""
    return {each.feature: each.offline for each in compare(store, answer)}


def compare_all(store: FeatureStore, answers: Sequence[Answered]) -> list[Checked]:
    """compare() of many answers, in order; the log is read once for each view."""
    views = Views(store)
    problems = [_problem(views, answer) for answer in answers]
    speaking = [answer for answer, problem in zip(answers, problems, strict=True) if problem is None]
    found = iter(_checked(views, speaking))
    return [Checked(answer, (), p) if p else next(found) for answer, p in zip(answers, problems, strict=True)]


def _checked(views: Views, answers: Sequence[Answered]) -> list[Checked]:
    """Answers that the log can speak about; where a sum leaves int64 there is no value to compare with."""
    try:
        compared = _Recomputation(views, answers).compared()
    except OverflowError as error:
        if len(answers) == 1:
            return [Checked(answers[0], (), UnverifiableError(str(error)))]
        return [checked for answer in answers for checked in _checked(views, [answer])]
    return [Checked(answer, found) for answer, found in zip(answers, compared, strict=True)]


def asked_of(spec: ViewSpec, answer: Answered) -> Asked:
    """What an answer asks of a windowed view."""
    keys = tuple(answer["entity_row"][key] for key in spec.join_keys)
    positions = answer["positions"][spec.name]
    ends = {int(partition): offset for partition, offset in positions.items() if partition not in ("history", "push")}
    return Asked(keys, datetime.fromisoformat(answer["as_of"]), ends)


def is_equal(online: object, offline: object, tolerance: float = 0.0) -> bool:
    """The rules of parity for two values; a boolean is no number."""
    if isinstance(online, float) and isinstance(offline, float):
        return math.isclose(online, offline, rel_tol=RELATIVE_TOLERANCE, abs_tol=tolerance)
    return online == offline and isinstance(online, bool) == isinstance(offline, bool)


def tolerance(spec: ViewSpec, name: str, events: pa.Table) -> float:
    """By how much a float feature over these events may differ where values cancel; 0 for everything exact."""
    window = next(window for window in spec.windows if window.name == name)
    if window.output_type != pa.float64() or window.function not in ("sum", "mean", "std"):
        return 0.0
    magnitudes = np.abs(np.asarray(events[window.column].drop_null().cast(pa.float64())))
    if not len(magnitudes):
        return 0.0
    return STD_TOLERANCE * float(magnitudes.max()) if window.function == "std" else SUM_TOLERANCE * float(magnitudes.sum())


def _problem(views: Views, answer: Answered) -> NotYetInLogError | UnverifiableError | None:
    """Why the log cannot be asked about an answer; None where it can."""
    if answer.get("degraded"):
        return UnverifiableError("the store was away: answered without history (STORE_AWAY=degrade).")
    try:
        for name in sorted(views.read_by(answer["features"])):
            view = views.named(name)
            if isinstance(view, ViewSpec):
                _require_the_logs_word(views, view, answer)
    except (NotYetInLogError, UnverifiableError) as problem:
        return problem
    return None


def _features(view: Any) -> list[str]:
    return [each.name for each in (view.windows if isinstance(view, ViewSpec) else view.features)]


def _require_the_logs_word(views: Views, spec: ViewSpec, answer: Answered) -> None:
    if any(answer["entity_row"][key] is None for key in spec.join_keys):
        return
    positions, (reached, known) = answer["positions"][spec.name], views.reached(spec.source)
    if "push" in positions:
        raise UnverifiableError(f"{spec.name} rests on rows that were pushed beside the topic.")
    if (generation := positions.get("history", 0)) != known:
        raise UnverifiableError(f"{spec.name} rests on history {generation}; the log now holds {known}.")
    for partition, offset in asked_of(spec, answer).ends.items():
        if reached.get(partition, -1) < offset:
            raise NotYetInLogError(
                f"{spec.name} counts {spec.source.name}[{partition}] up to offset {offset}; the log holds it up to "
                f"{reached.get(partition, 'nothing')}. Is the archive running (`make status`)?"
            )


class _Recomputation:
    """The values of answers that the log can speak about, view by view for all answers at once."""

    def __init__(self, views: Views, answers: Sequence[Answered]) -> None:
        self._views, self._answers = views, answers
        self._found: dict[str, list[dict[str, object]]] = {}

    def compared(self) -> list[list[Compared]]:
        return [[self._compared(number, name) for name in answer["features"]] for number, answer in enumerate(self._answers)]

    def _compared(self, number: int, full_name: str) -> Compared:
        online, offline = self._answers[number]["features"][full_name], self._value(number, full_name)
        equal = is_equal(online, offline)
        if not equal and isinstance(online, float) and isinstance(offline, float):
            equal = is_equal(online, offline, self._tolerance(number, full_name))
        return Compared(full_name, online, offline, equal)

    def _value(self, number: int, full_name: str) -> object:
        name, _, feature = full_name.partition("__")
        if name not in self._found:
            self._found[name] = self._of_view(name)
        return self._found[name][number][feature]

    def _tolerance(self, number: int, full_name: str) -> float:
        name, _, feature = full_name.partition("__")
        view = self._views.named(name)
        if not isinstance(view, ViewSpec):
            return 0.0
        return tolerance(view, feature, applied_events.events(view, asked_of(view, self._answers[number])))

    def _of_view(self, name: str) -> list[dict[str, object]]:
        """The values of a view for every answer; {} for those that do not read it."""
        view = self._views.named(name)
        reading = [n for n, answer in enumerate(self._answers) if name in self._views.read_by(answer["features"])]
        answers = [self._answers[number] for number in reading]
        if isinstance(view, OnDemandFeatureView):
            found = self._on_demand(view, reading)
        elif isinstance(view, ViewSpec):
            found = applied_events.values(view, [asked_of(view, answer) for answer in answers])
        else:
            found = known_rows.values(view, self._views.source(view), answers)
        by_number = dict(zip(reading, found, strict=True))
        return [by_number.get(number, {}) for number in range(len(self._answers))]

    def _on_demand(self, view: OnDemandFeatureView, reading: Sequence[int]) -> list[dict[str, object]]:
        rows = [self._answers[number]["entity_row"] for number in reading]
        inputs = {name: [row[name] for row in rows] for name in rows[0]}
        for source in view.source_feature_view_projections.values():
            for field in source.features:
                full_name = f"{source.name_to_use()}__{field.name}"
                inputs[full_name] = [self._value(number, full_name) for number in reading]
        columns = view.transform_dict(inputs)
        return [{name: column[place] for name, column in columns.items()} for place in range(len(rows))]
