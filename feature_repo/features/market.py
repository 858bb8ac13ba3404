"""What is the same for everybody: rates, exchange rates and promotion days, the newest known; read from what was loaded."""

from feast import FeatureView

from feature_repo.features.logs import SETTINGS
from feature_repo.features.user_profile import slowly_changing

market = slowly_changing("market", SETTINGS.events_dir / "market", "Rates and prices of the day, as they were known.", [])
"""None where nothing was loaded."""

RECURRING = ("is_promotion",)
"""What models take of it, where it was loaded. A rate or price that holds for everybody tells a tree the date, and a date the
frauds of training; a line fitted to one is wrong by the next quarter. Add others to a service where they mean more."""


def recurring_days() -> list[FeatureView]:
    """The market's RECURRING columns, for a feature service; nothing where none was loaded."""
    if market is None:
        return []
    names = [field.name for field in market.features if field.name in RECURRING]
    return [market[names]] if names else []
