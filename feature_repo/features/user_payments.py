"""What a user pays: how often, how much, and how evenly."""

from feature_repo.features.entities import user
from feature_repo.features.logs import transaction_columns, transactions
from plumbline import aggregate, windowed_view

user_payments = windowed_view(
    name="user_payments",
    entities=[user],
    source=transactions,
    schema=transaction_columns,
    aggregations=[
        *aggregate("payment_id", "count", over=["10m", "1h", "6h", "1d", "7d", "30d"]),
        *aggregate("payment_cents", "sum", over=["1h", "1d", "7d", "30d"]),
        *aggregate("payment_cents", "mean", over=["1d", "7d", "30d"]),
        *aggregate("payment_cents", "max", over=["1d", "30d"]),
        *aggregate("payment_cents", "std", over="30d"),
        *aggregate("small_payment_id", "count", over=["10m", "1h", "1d"]),
    ],
    description="A user's payments, in minor units of the log's currency.",
)
