"""What is the same for everybody: rates, exchange rates and promotion days, the newest known; read from what was loaded."""

from feature_repo.features.logs import SETTINGS
from feature_repo.features.user_profile import slowly_changing

market = slowly_changing("market", SETTINGS.events_dir / "market", "Rates and prices of the day, as they were known.", [])
"""None where nothing was loaded. No model's service takes it: a rate that holds for everybody tells a tree the date, and a date
the frauds of training; add it to a service of yours where it means more."""
