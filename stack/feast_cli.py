"""Feast's own command line on this project's repo and settings: `python -m stack.feast_cli feature-views list`.

`.venv/bin/feast -c feature_repo ...`, which `make setup` writes, is the same without our -c and our one-line errors.
"""

import os
import sys
import warnings
from datetime import UTC, datetime
from typing import Any

from feature_repo import REPO_PATH, store_environment
from feature_repo.settings import Settings
from stack import reporting
from stack.environment import for_processes
from stack.java import NoJava

AS_FEAST = "import sys; from stack.feast_cli import as_feast; sys.exit(as_feast())"


def main() -> int:
    arguments = _expanded(sys.argv[1:])
    name = arguments[0] if arguments else "feast"
    try:
        settings = Settings.from_env()
        environment = environment_of(settings)
    except (ValueError, NoJava) as problem:
        print(f"feast: {problem}", file=sys.stderr)
        return 1
    return reporting.run(name, command(*arguments), environment, settings.logs_dir / f"feast-{name}.log")


def as_feast() -> int:
    """Feast's command line with the arguments of this process, in an environment that has the settings.

    Feast turns its own warnings on (every kind of view is an experiment to it), so they are not shown here.
    """
    os.environ.update(store_environment(Settings.from_env()))
    warnings.showwarning = lambda *_, **__: None
    from feast.cli.cli import cli

    _find_stream_views()
    return int(cli() or 0)


def _find_stream_views() -> None:
    """`feast feature-views list` asks for the views under an on-demand view as if none were a stream view, and fails."""
    from feast import FeatureStore
    from feast.errors import FeatureViewNotFoundException

    batch_only = FeatureStore.get_feature_view

    def get_feature_view(store: FeatureStore, name: str, allow_registry_cache: bool = False) -> Any:
        try:
            return batch_only(store, name, allow_registry_cache)
        except FeatureViewNotFoundException:
            return store.get_stream_feature_view(name, allow_registry_cache)

    FeatureStore.get_feature_view = get_feature_view


def command(*arguments: str) -> list[str]:
    """Feast's command line on our repo, with this Python."""
    return [sys.executable, "-c", AS_FEAST, "-c", str(REPO_PATH), *arguments]


def environment_of(settings: Settings) -> dict[str, str]:
    return {**for_processes(settings), **store_environment(settings)}


def _expanded(arguments: list[str]) -> list[str]:
    """`materialize` alone means up to now; with START and END it is Feast's own."""
    if arguments != ["materialize"]:
        return arguments
    return ["materialize-incremental", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")]


if __name__ == "__main__":
    sys.exit(main())
