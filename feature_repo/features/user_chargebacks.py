"""What has been reported about a user's transactions: known only from the instant of the report."""

from feature_repo.features.entities import user
from feature_repo.features.logs import label_columns, labels
from plumbline import aggregate, windowed_view

user_chargebacks = windowed_view(
    name="user_chargebacks",
    entities=[user],
    source=labels,
    schema=label_columns,
    aggregations=[
        *aggregate("fraud_id", "count", over=["1d", "7d", "14d", "30d", "90d"]),
        *aggregate("is_fraud", "mean", over=["1d", "7d", "30d"]),
        *aggregate("fraud_amount_cents", "sum", over="90d"),
    ],
    description="Frauds reported on a user, and their share of all labels that arrived.",
)
