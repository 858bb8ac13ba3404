"""What a view declares of its log, as one value that changes whenever any of it does."""

from feast import FeatureView


def declared_log(view: FeatureView) -> tuple[object, ...]:
    """All that a view says of its log, as it stands: compiling it takes longer than a read."""
    batch, stream = view.batch_source, view.stream_source
    named = [getattr(batch, name, None) for name in ("path", "timestamp_field", "created_timestamp_column")]
    declared = [source.tags for source in (batch, stream) if source is not None] + [batch.field_mapping if batch else None]
    return (stream.name if stream else None, *named, *(tuple(sorted((pairs or {}).items())) for pairs in declared))
