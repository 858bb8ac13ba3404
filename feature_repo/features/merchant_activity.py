"""What usually happens at a merchant, and what happens there now."""

from feature_repo.features.entities import merchant
from feature_repo.features.logs import transaction_columns, transactions
from plumbline import aggregate, windowed_view

merchant_activity = windowed_view(
    name="merchant_activity",
    entities=[merchant],
    source=transactions,
    schema=transaction_columns,
    aggregations=[
        *aggregate("payment_id", "count", over=["1h", "1d", "7d", "30d"]),
        *aggregate("payment_cents", "mean", over=["1d", "7d", "30d"]),
        *aggregate("payment_cents", "std", over="30d"),
        *aggregate("small_payment_id", "count", over=["1h", "1d"]),
        *aggregate("user_id", "count_distinct", over=["1h", "1d"]),
    ],
    description="A merchant's payments and customers.",
)
