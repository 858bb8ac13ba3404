"""How much a user varies: merchants, devices, countries and channels, and where the user was last seen."""

from feature_repo.features.entities import user
from feature_repo.features.logs import transaction_columns, transactions
from plumbline import aggregate, windowed_view

user_novelty = windowed_view(
    name="user_novelty",
    entities=[user],
    source=transactions,
    schema=transaction_columns,
    aggregations=[
        *aggregate("merchant_id", "count_distinct", over=["1h", "1d", "30d"]),
        *aggregate("device_id", "count_distinct", over=["1d", "30d"]),
        *aggregate("country", "count_distinct", over=["1d", "30d"]),
        *aggregate("channel", "count_distinct", over="1d"),
        *aggregate("country", "last", over=["6h", "30d"]),
        *aggregate("channel", "last", over=["30d"]),
    ],
    description="How many different merchants, devices and countries a user meets.",
)
