"""On-demand views of a direct read: their function is called on plain columns, with the values that Feast would give it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from feast import ValueType
from feast.feature_view import DUMMY_ENTITY_NAME, FeatureView
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.type_map import python_values_to_proto_values

from plumbline.value_proto import plain_value

_PLAIN_TYPES = {ValueType.INT64: int, ValueType.DOUBLE: float, ValueType.STRING: str}
_GIVEN_TYPES = (int, float, str, bool)
_LARGEST_INT64 = 2**63


@dataclass(frozen=True)
class Transform:
    """An on-demand view of mode python that is computed when read.

    inputs   names of the columns it may see: of its own source views, and of the request
    outputs  full name, its own name and its type, of each feature that is asked for
    """

    view: OnDemandFeatureView
    inputs: frozenset[str]
    outputs: list[tuple[str, str, ValueType]]

    def columns(self, known: Mapping[str, Sequence[object]], given: Mapping[str, Sequence[object]]) -> dict[str, list[object]]:
        """Full name -> one value a row; known: features by full name, given: what the entity rows hold."""
        inputs = {name: list(values) for name, values in known.items() if name in self.inputs}
        found = self.view.transform_dict(inputs | {name: list(values) for name, values in given.items()})
        return {full: _converted(found[name], kind) for full, name, kind in self.outputs}


def transforms(
    views: Sequence[OnDemandFeatureView], sources: Sequence[FeatureView], wanted: Iterable[str]
) -> list[Transform] | None:
    """The transforms of a read over `sources`; None where Feast must compute one itself (pandas, singletons, aggregations).

    wanted  full names of everything that is asked for
    """
    asked = set(wanted)
    found = []
    for view in views:
        keyed = set(view.entities) - {DUMMY_ENTITY_NAME}
        if view.mode != "python" or view.singleton or view.aggregations or view.write_to_online_store or keyed:
            return None
        read = {projection.name for projection in view.source_feature_view_projections.values()}
        names = [source.projection.name_to_use() for source in sources]
        if not read <= set(names):
            return None  # a source under an alias: Feast knows which columns it gives
        inputs = frozenset(
            f"{source.projection.name_to_use()}__{feature.name}"
            for source in sources
            if source.projection.name_to_use() in read
            for feature in source.features
        )
        prefix = view.projection.name_to_use()
        outputs = [
            (f"{prefix}__{field.name}", field.name, field.dtype.to_value_type())
            for field in view.features
            if f"{prefix}__{field.name}" in asked
        ]
        found.append(Transform(view, inputs, outputs))
    return found


def given_columns(rows: Sequence[Mapping[str, object]], names: Iterable[str]) -> dict[str, list[object]] | None:
    """The request's own columns; None where Feast must have its say: one that lacks, or values whose type it converts."""
    columns: dict[str, list[object]] = {}
    for name in names:
        if not all(name in row for row in rows):
            return None
        values = [row[name] for row in rows]
        kinds = {type(value) for value in values if value is not None}
        if len(kinds) > 1 or not kinds <= set(_GIVEN_TYPES):
            return None
        if int in kinds and any(value is not None and not -_LARGEST_INT64 <= value < _LARGEST_INT64 for value in values):  # type: ignore[operator]
            return None
        columns[name] = values
    return columns


def _converted(values: Sequence[object], kind: ValueType) -> list[object]:
    """Values as they come back from Feast's own value of the declared type."""
    plain = _PLAIN_TYPES.get(kind)
    if plain is not None and all(value is None or (type(value) is plain and value == value) for value in values):
        return list(values)
    return [plain_value(proto) for proto in python_values_to_proto_values(list(values), kind)]
