"""The one file that Feast loads: every Feast object of every module in `feature_repo/features/`.

A new module there is found by itself. Feast imports each .py of its repo as a top-level module, which would load the
same definitions twice under two names; `.feastignore` leaves it this file only.
"""

import importlib
import pkgutil
from typing import Any

from feast import Entity, FeatureService, FeatureView, OnDemandFeatureView
from feast.data_source import DataSource

from feature_repo import features

FEAST_OBJECTS = (Entity, DataSource, FeatureView, OnDemandFeatureView, FeatureService)


def feast_objects() -> dict[str, Any]:
    """Every Feast object at the top of a module of `features`, as `<module>__<name>`."""
    found = {}
    for info in pkgutil.iter_modules(features.__path__):
        module = importlib.import_module(f"{features.__name__}.{info.name}")
        for name, value in vars(module).items():
            if isinstance(value, FEAST_OBJECTS):
                found[f"{info.name}__{name}"] = value
    return found


globals().update(feast_objects())
