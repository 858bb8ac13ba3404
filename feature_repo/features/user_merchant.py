"""How well a user and a merchant know each other: no earlier payment means a new merchant for this user."""

from feature_repo.features.entities import merchant, user
from feature_repo.features.logs import transaction_columns, transactions
from plumbline import aggregate, windowed_view

user_merchant = windowed_view(
    name="user_merchant",
    entities=[user, merchant],
    source=transactions,
    schema=transaction_columns,
    aggregations=[
        *aggregate("event_id", "count", over=["1h", "30d"]),
        *aggregate("payment_id", "count", over=["1d", "30d", "90d"]),
        *aggregate("payment_cents", "mean", over="90d"),
    ],
    description="A user's history at one merchant.",
)
