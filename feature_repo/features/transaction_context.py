"""The transaction being scored against the history of its user and merchant: the same function offline and online."""

from typing import Any

import numpy as np
from feast import Field, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String

from feature_repo.features.merchant_activity import merchant_activity
from feature_repo.features.user_activity import user_activity
from feature_repo.features.user_novelty import user_novelty
from feature_repo.features.user_payments import user_payments

transaction_request = RequestSource(
    name="transaction_request",
    schema=[
        Field(name="transaction_amount_cents", dtype=Int64),
        Field(name="transaction_event_type", dtype=String),
        Field(name="transaction_category", dtype=String),
        Field(name="transaction_channel", dtype=String),
        Field(name="transaction_country", dtype=String),
        Field(name="transaction_time_us", dtype=Int64),
    ],
    description="The transaction's own columns; its time in microseconds since the Unix epoch, UTC.",
)


@on_demand_feature_view(
    sources=[
        transaction_request,
        user_activity[["event_id_count_1h", "event_id_count_7d"]],
        user_payments[
            [
                "payment_cents_sum_1d",
                "payment_cents_sum_30d",
                "payment_cents_mean_30d",
                "payment_cents_max_30d",
                "payment_cents_std_30d",
            ]
        ],
        user_novelty[["country_last_6h", "country_last_30d", "channel_last_30d"]],
        merchant_activity[["payment_cents_mean_30d"]],
    ],
    schema=[
        Field(name="amount_cents", dtype=Int64),
        Field(name="event_type", dtype=String),
        Field(name="category", dtype=String),
        Field(name="channel", dtype=String),
        Field(name="country", dtype=String),
        Field(name="hour_utc", dtype=Int64),
        Field(name="weekday", dtype=Int64),
        Field(name="amount_to_mean_30d", dtype=Float64),
        Field(name="amount_to_max_30d", dtype=Float64),
        Field(name="amount_deviations_30d", dtype=Float64),
        Field(name="amount_to_merchant_mean_30d", dtype=Float64),
        Field(name="spent_1d_to_daily_mean_30d", dtype=Float64),
        Field(name="events_1h_to_hourly_mean_7d", dtype=Float64),
        Field(name="country_changed", dtype=Int64),
        Field(name="country_changed_6h", dtype=Int64),
        Field(name="channel_changed", dtype=Int64),
    ],
    mode="python",
    description="This transaction against what is usual; weekday 0 is Monday; null where there is nothing to compare.",
)
def transaction_context(inputs: dict[str, Any]) -> dict[str, Any]:
    # Feast stores this body as text and runs it with only pandas (pd) and numpy (np) in scope: no other name works.
    def numbers(name):
        return np.array(inputs[name], dtype=np.float64)

    def ratio(part, whole):
        usable = np.isfinite(part) & np.isfinite(whole) & (whole > 0)
        return [p / w if ok else None for p, w, ok in zip(part.tolist(), whole.tolist(), usable.tolist(), strict=True)]

    def changed(now, before):
        pairs = zip(inputs[now], inputs[before], strict=True)
        return [None if new is None or old is None else int(new != old) for new, old in pairs]

    amount = numbers("transaction_amount_cents")
    mean = numbers("user_payments__payment_cents_mean_30d")
    times = inputs["transaction_time_us"]
    return {
        "amount_cents": inputs["transaction_amount_cents"],
        "event_type": inputs["transaction_event_type"],
        "category": inputs["transaction_category"],
        "channel": inputs["transaction_channel"],
        "country": inputs["transaction_country"],
        "hour_utc": [None if t is None else t // 3_600_000_000 % 24 for t in times],
        "weekday": [None if t is None else (t // 86_400_000_000 + 3) % 7 for t in times],
        "amount_to_mean_30d": ratio(amount, mean),
        "amount_to_max_30d": ratio(amount, numbers("user_payments__payment_cents_max_30d")),
        "amount_deviations_30d": ratio(amount - mean, numbers("user_payments__payment_cents_std_30d")),
        "amount_to_merchant_mean_30d": ratio(amount, numbers("merchant_activity__payment_cents_mean_30d")),
        "spent_1d_to_daily_mean_30d": ratio(
            amount + numbers("user_payments__payment_cents_sum_1d"),
            numbers("user_payments__payment_cents_sum_30d") / 30,
        ),
        "events_1h_to_hourly_mean_7d": ratio(
            numbers("user_activity__event_id_count_1h"), numbers("user_activity__event_id_count_7d") / 168
        ),
        "country_changed": changed("transaction_country", "user_novelty__country_last_30d"),
        "country_changed_6h": changed("transaction_country", "user_novelty__country_last_6h"),
        "channel_changed": changed("transaction_channel", "user_novelty__channel_last_30d"),
    }
