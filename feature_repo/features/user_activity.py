"""How much a user does: events of every type, at night, and by type."""

from feature_repo.features.entities import user
from feature_repo.features.logs import transaction_columns, transactions
from plumbline import aggregate, windowed_view

user_activity = windowed_view(
    name="user_activity",
    entities=[user],
    source=transactions,
    schema=transaction_columns,
    aggregations=[
        *aggregate("event_id", "count", over=["10m", "1h", "6h", "1d", "7d", "30d"]),
        *aggregate("view_id", "count", over=["1h", "7d"]),
        *aggregate("hold_id", "count", over=["1h", "1d"]),
        *aggregate("withdrawal_id", "count", over=["1d", "7d"]),
        *aggregate("withdrawal_cents", "sum", over=["1d", "7d"]),
        *aggregate("night_id", "count", over=["7d", "30d"]),
    ],
    description="Counts of a user's events.",
)
