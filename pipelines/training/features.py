"""Feature values of entity rows, as known at each row's instant, through Feast's own call."""

import pyarrow as pa
from feast import FeatureService

from pipelines.training.rows import Examples
from plumbline import FeatureStore


def feature_names(service: FeatureService) -> list[str]:
    """Full names `<view>__<feature>` of everything a feature service has, in declared order."""
    return [
        f"{projection.name_to_use()}__{feature.name}"
        for projection in service.feature_view_projections
        for feature in projection.features
    ]


def training_features(store: FeatureStore, service_name: str, examples: Examples) -> pa.Table:
    """The features of a service for every example, in the order of the examples.

    returns (n, k), full names in the service's order; null where there was nothing to aggregate or nothing known.
    Raises FeatureServiceNotFoundException where the service was never applied.
    """
    service = store.get_feature_service(service_name)
    job = store.get_historical_features(
        entity_df=examples.entity_rows.reset_index(drop=True),
        features=service,
        full_feature_names=True,
        filter_by_created_timestamp=True,
    )
    table = job.to_arrow()
    if table.num_rows != len(examples.entity_rows):
        raise ValueError(
            f"{service_name}: {len(examples.entity_rows):,} entity rows gave {table.num_rows:,} rows of features; "
            "rows in must be rows out."
        )
    return table.select(feature_names(service))
