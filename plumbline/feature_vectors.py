"""What the store said, as the vectors of Feast's response."""

import logging
from collections.abc import Sequence

from feast import FeatureView
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from google.protobuf.timestamp_pb2 import Timestamp

from plumbline.online_reading import EntityAnswer, VersionedRead, WindowedRead
from plumbline.value_proto import value_proto

log = logging.getLogger(__name__)


def respond(
    response: GetOnlineFeaturesResponse,
    view: FeatureView,
    names: Sequence[str],
    read: WindowedRead | VersionedRead,
    answers: Sequence[EntityAnswer],
    at_us: int,
    full_feature_names: bool,
) -> None:
    """Append one vector a feature to Feast's response."""
    prefix = f"{view.projection.name_to_use()}__" if full_feature_names else ""
    response.metadata.feature_names.val.extend(prefix + name for name in names)
    for answer in answers:
        warn_of_overflows(answer)
    alike = GetOnlineFeaturesResponse.FeatureVector(
        statuses=[status_of(answer) for answer in answers],
        event_timestamps=[_response_time(answer, at_us) for answer in answers],
    )
    first = len(response.results)
    response.results.extend([alike] * len(names))  # copies: faster than to make each of its parts
    for vector, values in zip(response.results[first:], feature_columns(view, names, read, answers), strict=True):
        vector.values.extend(values)


def feature_columns(
    view: FeatureView, names: Sequence[str], read: WindowedRead | VersionedRead, answers: Sequence[EntityAnswer]
) -> list[list[ValueProto]]:
    """The values of each feature, one an answer; raises KeyError, naming those there are, for an unknown feature."""
    if isinstance(read, VersionedRead):
        return [[_row_value(answer, name) for answer in answers] for name in names]
    windows = {window.name: (i, window.output_type) for i, window in enumerate(read.layout.spec.windows)}
    unknown = [name for name in names if name not in windows]
    if unknown:
        raise KeyError(f"View '{view.name}' has no feature '{unknown[0]}'; it has {', '.join(windows)}.")
    return [
        [value_proto(answer.values[i], output_type) for answer in answers]
        for i, output_type in (windows[name] for name in names)
    ]


def warn_of_overflows(answer: EntityAnswer) -> None:
    """Say which integers left their type and were answered as null."""
    if answer.overflows:
        log.warning("Integer overflow, answered as null: %s", "; ".join(answer.overflows))


def _row_value(answer: EntityAnswer, name: str) -> ValueProto:
    if answer.row is None or name not in answer.row.features:
        return ValueProto()
    return ValueProto.FromString(answer.row.features[name])


def status_of(answer: EntityAnswer) -> int:
    """Feast's status of one entity in one view."""
    if answer.expired:
        return FieldStatus.OUTSIDE_MAX_AGE
    return FieldStatus.PRESENT if answer.found else FieldStatus.NOT_FOUND


def _response_time(answer: EntityAnswer, at_us: int) -> Timestamp:
    """The row's time for a slowly changing view, the read's instant for a windowed one, the epoch where nothing was found."""
    if not answer.found:
        return Timestamp()
    moment = at_us if answer.row is None else answer.row.event_us
    return Timestamp(seconds=moment // 1_000_000, nanos=moment % 1_000_000 * 1_000)
