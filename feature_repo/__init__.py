"""What the features are; `open_store()` is the one way the rest of the project opens the store."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from feature_repo.settings import Settings

if TYPE_CHECKING:
    from plumbline import FeatureStore

REPO_PATH = Path(__file__).resolve().parent


def store_environment(settings: Settings) -> dict[str, str]:
    """The variables that feature_store.yaml expands, and DATA_DIR as definitions.py reads it."""
    return {
        "PLUMBLINE_DATA_DIR": str(settings.data_dir),
        "DATA_DIR": str(settings.data_dir),
        "REDIS_CONNECTION_STRING": settings.redis_connection_string,
        "REDIS_TYPE": settings.redis_type,
    }


def open_store(settings: Settings | None = None) -> "FeatureStore":
    """The feature store of `settings` (default: of the environment).

    Opens the registry file; the online store is connected by the first read. A registry that was never applied is
    empty: asking it for a view or service raises Feast's own ...NotFoundException (`make apply` fills it).
    The environment is as before afterwards: a named Redis would read as the user's own in processes started later.
    """
    from feature_repo import unchecked_feast  # noqa: F401
    from plumbline import FeatureStore  # Feast takes seconds to import; `feature_repo.settings` must not

    with _environment(store_environment(settings or Settings.from_env())):
        return FeatureStore(repo_path=str(REPO_PATH))


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
