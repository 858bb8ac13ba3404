"""What has been reported about a device's transactions: where it is the terminal that knows no merchant, the risk is here."""

from feature_repo.features.entities import device
from feature_repo.features.logs import label_columns, labels
from plumbline import aggregate, windowed_view

device_chargebacks = windowed_view(
    name="device_chargebacks",
    entities=[device],
    source=labels,
    schema=label_columns,
    aggregations=[
        *aggregate("fraud_id", "count", over=["1d", "7d", "14d", "21d", "30d"]),
        *aggregate("is_fraud", "mean", over=["1d", "7d", "14d", "21d", "30d"]),
        *aggregate("is_fraud", "last", over="30d"),
    ],
    description="Frauds reported on a device, and their share of all labels that arrived.",
)
