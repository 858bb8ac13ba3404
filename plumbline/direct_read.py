"""A read worked out once: which views, keys and features, so that a request costs one round trip and little more."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import pyarrow as pa
from feast import FeatureView, RepoConfig, ValueType
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.Value_pb2 import Value as ValueProto

from plumbline.answer import Answer
from plumbline.direct_transform import Transform, given_columns, transforms
from plumbline.feature_vectors import status_of, warn_of_overflows
from plumbline.instant import from_microseconds
from plumbline.online_reading import EntityAnswer, OnlineReader, VersionedRead, WindowedRead
from plumbline.online_store import WindowedOnlineStore
from plumbline.spec import is_windowed, join_keys_of
from plumbline.value_codec import EVERYBODY, entity_bytes
from plumbline.value_proto import plain_value, value_proto
from plumbline.view_spec import WindowSpec

_PYTHON_TYPES = {ValueType.STRING: str, ValueType.INT64: int}
_ABSENT = object()
_STATUS_NAMES = {number: name for name, number in FieldStatus.items()}
_PRESENT = _STATUS_NAMES[FieldStatus.PRESENT]
_AS_THEY_ARE = (pa.int64(), pa.float64(), pa.string(), pa.large_string(), pa.bool_(), pa.binary())


@dataclass(frozen=True)
class ViewRead:
    """One view of a request.

    keys      name in the entity rows -> the Python type it must have, in the order of join_keys; none where the view has no
              entities
    features  full names
    values    their values, taken from an answer
    """

    name: str
    join_keys: list[str]
    keys: dict[str, type]
    read: Callable[[list[bytes | None]], WindowedRead | VersionedRead]
    features: list[str]
    values: Callable[[EntityAnswer], Iterable[object]]

    @cached_property
    def entity(self) -> tuple[object, ...]:
        """What the view's entities are made of: the same for views that share them."""
        return (*self.join_keys, *self.keys.items())


@dataclass(frozen=True)
class DirectRead:
    """All views of a request.

    transforms  on-demand views, computed from what was read and what the request gives (request_names)
    hidden      full names that only the transforms need
    """

    views: list[ViewRead]
    transforms: list[Transform]
    request_names: frozenset[str]
    hidden: frozenset[str]

    def entities(self, rows: Sequence[Mapping[str, object]]) -> list[list[bytes | None]] | None:
        """The entity of each row, a list a view; None where Feast must have its say: a key that lacks or is of another type."""
        found: dict[tuple[object, ...], list[bytes | None]] = {}
        for view in self.views:
            if view.entity in found:
                continue
            columns = [[row.get(key, _ABSENT) for row in rows] for key in view.keys]
            for values, kind in zip(columns, view.keys.values(), strict=True):
                if not all(value is None or type(value) is kind for value in values):
                    return None
            found[view.entity] = entity_bytes(view.join_keys, columns) if columns else [EVERYBODY] * len(rows)
        return [found[view.entity] for view in self.views]

    def given(self, rows: Sequence[Mapping[str, object]]) -> dict[str, list[object]] | None:
        """What the rows give to the transforms, a column each; None where Feast must have its say."""
        return given_columns(rows, self.request_names)

    def answers(
        self,
        reader: OnlineReader,
        entities: list[list[bytes | None]],
        given: Mapping[str, Sequence[object]],
        at_us: int,
    ) -> list[Answer]:
        """One answer a row. Raises AsOfTooOld, StoreUnavailable, StateUnreadable."""
        found = reader.read([view.read(of_view) for view, of_view in zip(self.views, entities, strict=True)], at_us)
        answers = [self._answer([of_view[row] for of_view in found], at_us) for row in range(len(entities[0]))]
        if self.transforms:
            self._transform(answers, given)
        return answers

    def _transform(self, answers: list[Answer], given: Mapping[str, Sequence[object]]) -> None:
        """Add the features of the on-demand views, and take away what only they needed."""
        known = {name: [answer.features[name] for answer in answers] for name in answers[0].features}
        for transform in self.transforms:
            for name, values in transform.columns(known, given).items():
                for answer, value in zip(answers, values, strict=True):
                    answer.features[name], answer.statuses[name] = value, _PRESENT
        for answer in answers:
            for name in self.hidden:
                del answer.features[name], answer.statuses[name]

    def _answer(self, found: list[EntityAnswer], at_us: int) -> Answer:
        features: dict[str, object] = {}
        statuses: dict[str, str] = {}
        for view, answer in zip(self.views, found, strict=True):
            warn_of_overflows(answer)
            features.update(zip(view.features, view.values(answer), strict=True))
            statuses.update(dict.fromkeys(view.features, _STATUS_NAMES[status_of(answer)]))
        names = [view.name for view in self.views]
        return Answer(
            features,
            statuses,
            {name: answer.found for name, answer in zip(names, found, strict=True)},
            {name: dict(answer.positions) for name, answer in zip(names, found, strict=True)},
            from_microseconds(at_us),
            tuple(overflow for answer in found for overflow in answer.overflows),
        )


def direct_read(
    store: WindowedOnlineStore,
    config: RepoConfig,
    grouped_refs: Sequence[tuple[FeatureView, Sequence[str]]],
    entity_types: Mapping[str, ValueType],
    on_demand: Sequence[OnDemandFeatureView],
    request_names: Iterable[str],
    wanted: Collection[str],
) -> DirectRead | None:
    """The read of views and their features, and of on-demand views over them; wanted: full names of what is asked for.

    None where only Feast knows what to do: a key that it converts, an on-demand view that it computes itself.
    """
    views = []
    for view, names in grouped_refs:
        alias = view.projection.join_key_map
        join_keys = join_keys_of(view)
        named = [alias.get(key, key) for key in join_keys]
        keys = {name: _PYTHON_TYPES[entity_types[name]] for name in named if entity_types.get(name) in _PYTHON_TYPES}
        if len(keys) < len(named):
            return None
        windows = store.layout(config, view).spec.windows if is_windowed(view) else None
        asked = [name for name in names if name not in join_keys]
        features = [f"{view.projection.name_to_use()}__{name}" for name in asked]
        read = _request_of(store, config, view)
        views.append(ViewRead(view.projection.name_to_use(), join_keys, keys, read, features, _values_of(view, windows, asked)))
    computed = transforms(on_demand, [view for view, _ in grouped_refs], wanted)
    if computed is None:
        return None
    hidden = frozenset(name for view in views for name in view.features if name not in wanted)
    return DirectRead(views, computed, frozenset(request_names), hidden)


def _request_of(
    store: WindowedOnlineStore, config: RepoConfig, view: FeatureView
) -> Callable[[list[bytes | None]], WindowedRead | VersionedRead]:
    if is_windowed(view):
        return partial(WindowedRead, store.layout(config, view))
    return partial(store.read_request, config, view)


def _values_of(
    view: FeatureView, windows: Sequence[WindowSpec] | None, asked: Sequence[str]
) -> Callable[[EntityAnswer], Iterable[object]]:
    if windows is None:
        return partial(_row_values, asked)
    names = [window.name for window in windows]
    for name in asked:
        if name not in names:
            raise KeyError(f"View '{view.name}' has no feature '{name}'; it has {', '.join(names)}.")
    places = [names.index(name) for name in asked]
    types = [windows[place].output_type for place in places]
    if all(output_type in _AS_THEY_ARE for output_type in types):
        return _all_values if places == list(range(len(names))) else partial(_plain_values, places)
    return partial(_converted_values, list(zip(places, types, strict=True)))


def _all_values(answer: EntityAnswer) -> list[object]:
    return answer.values


def _plain_values(places: Sequence[int], answer: EntityAnswer) -> list[object]:
    return [answer.values[place] for place in places]


def _converted_values(places: Sequence[tuple[int, pa.DataType]], answer: EntityAnswer) -> list[object]:
    return [
        answer.values[place] if output_type in _AS_THEY_ARE else plain_value(value_proto(answer.values[place], output_type))
        for place, output_type in places
    ]


def _row_values(names: Sequence[str], answer: EntityAnswer) -> list[object]:
    return [_row_value(name, answer) for name in names]


def _row_value(name: str, answer: EntityAnswer) -> object:
    if answer.row is None or name not in answer.row.features:
        return None
    return plain_value(ValueProto.FromString(answer.row.features[name]))
