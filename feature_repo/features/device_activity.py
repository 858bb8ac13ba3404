"""How a device is used: how much, and by how many users."""

from feature_repo.features.entities import device
from feature_repo.features.logs import transaction_columns, transactions
from plumbline import aggregate, windowed_view

device_activity = windowed_view(
    name="device_activity",
    entities=[device],
    source=transactions,
    schema=transaction_columns,
    aggregations=[
        *aggregate("event_id", "count", over=["1h", "1d", "30d"]),
        *aggregate("user_id", "count_distinct", over=["1d", "30d"]),
        *aggregate("payment_cents", "sum", over=["1h", "1d"]),
        *aggregate("payment_cents", "mean", over="30d"),
    ],
    description="A device's events and users.",
)
