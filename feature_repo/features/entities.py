"""Whom features describe: users, merchants and devices, by text ids; a view over two entities describes the pair."""

from feast import Entity, ValueType

user = Entity(
    name="user",
    join_keys=["user_id"],
    value_type=ValueType.STRING,
    description="A customer: whoever pays, withdraws or looks.",
)
merchant = Entity(
    name="merchant",
    join_keys=["merchant_id"],
    value_type=ValueType.STRING,
    description="Whoever is paid; a brand or a category where the source knows no merchant.",
)
device = Entity(
    name="device",
    join_keys=["device_id"],
    value_type=ValueType.STRING,
    description="The phone, browser or terminal that an event came from.",
)
