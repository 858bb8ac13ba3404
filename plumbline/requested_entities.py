"""The entities that a read or a write of the online store is about, from Feast's rows and keys."""

from collections.abc import Mapping, Sequence
from typing import Any

from feast import FeatureView
from feast.protos.feast.types.EntityKey_pb2 import EntityKey as EntityKeyProto
from feast.protos.feast.types.Value_pb2 import Value as ValueProto

from plumbline.spec import join_keys_of
from plumbline.value_codec import EVERYBODY, entity_bytes
from plumbline.value_proto import plain_value


def columnar(entity_rows: list[dict[str, Any]] | Mapping[str, Any]) -> Mapping[str, Any]:
    """Entity rows as columns; raises ValueError when the rows have different names."""
    if not isinstance(entity_rows, list):
        return entity_rows
    names = entity_rows[0].keys() if entity_rows else ()
    if any(row.keys() != names for row in entity_rows):
        raise ValueError("All entity_rows must have the same keys.")
    return {name: [row[name] for row in entity_rows] for name in names}


def entities_of(view: FeatureView, values: Mapping[str, Sequence[ValueProto]], rows: int) -> list[bytes | None]:
    """The entity of each row by which a view is read, None where a key is null; raises KeyError, naming what the rows lack."""
    if not join_keys_of(view):
        return [EVERYBODY] * rows
    names = list(values)
    missing = [key for key in view.join_keys if view.projection.join_key_map.get(key, key) not in names and key not in names]
    if missing:
        raise KeyError(f"View '{view.name}' is read by {', '.join(view.join_keys)}; the entity rows lack {', '.join(missing)}.")
    return entity_bytes(names, [[plain_value(proto) for proto in values[name]] for name in names])


def entity_of_key(key: EntityKeyProto) -> bytes | None:
    """An entity as Feast's protocol has it; None where a key is null."""
    if not key.join_keys:
        return EVERYBODY
    return entity_bytes(list(key.join_keys), [[plain_value(value)] for value in key.entity_values])[0]
