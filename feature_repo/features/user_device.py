"""How well a user and a device know each other: no earlier event means a new device for this user."""

from feature_repo.features.entities import device, user
from feature_repo.features.logs import transaction_columns, transactions
from plumbline import aggregate, windowed_view

user_device = windowed_view(
    name="user_device",
    entities=[user, device],
    source=transactions,
    schema=transaction_columns,
    aggregations=aggregate("event_id", "count", over=["1d", "30d"]),
    description="A user's history on one device.",
)
