"""What has been reported about a merchant's transactions: known only from the instant of the report."""

from feature_repo.features.entities import merchant
from feature_repo.features.logs import label_columns, labels
from plumbline import aggregate, windowed_view

merchant_chargebacks = windowed_view(
    name="merchant_chargebacks",
    entities=[merchant],
    source=labels,
    schema=label_columns,
    aggregations=[
        *aggregate("fraud_id", "count", over=["1d", "7d", "14d", "21d", "30d", "90d"]),
        *aggregate("is_fraud", "mean", over=["1d", "7d", "14d", "21d", "30d", "90d"]),
        *aggregate("is_fraud", "last", over="30d"),
        *aggregate("fraud_amount_cents", "sum", over=["30d", "90d"]),
        *aggregate("fraud_amount_cents", "mean", over="30d"),
    ],
    description="Frauds reported on a merchant, how large they were, and their share of all labels that arrived.",
)
