"""Feast's own command line on this project's repo and settings: `python -m stack.feast_cli feature-views list`.

`.venv/bin/feast -c feature_repo ...`, which `make setup` writes, is the same without our -c and our one-line errors.
"""

import os
import sys
import warnings
from datetime import UTC, datetime

from feature_repo import REPO_PATH, store_environment
from feature_repo.settings import Settings
from stack import reporting
from stack.environment import for_processes
from stack.java import NoJava

QUIET_CLI = "import warnings; warnings.showwarning = lambda *_, **__: None; from feast.cli.cli import cli; cli()"
"""Feast turns its own warnings on (every kind of view is an experiment to it), so they are not shown here."""


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
    """Feast's command line with the arguments of this process, in an environment that has the settings."""
    os.environ.update(store_environment(Settings.from_env()))
    warnings.showwarning = lambda *_, **__: None
    from feast.cli.cli import cli

    return int(cli() or 0)


def command(*arguments: str) -> list[str]:
    """Feast's command line on our repo, with this Python."""
    return [sys.executable, "-c", QUIET_CLI, "-c", str(REPO_PATH), *arguments]


def environment_of(settings: Settings) -> dict[str, str]:
    return {**for_processes(settings), **store_environment(settings)}


def _expanded(arguments: list[str]) -> list[str]:
    """`materialize` alone means up to now; with START and END it is Feast's own."""
    if arguments != ["materialize"]:
        return arguments
    return ["materialize-incremental", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")]


if __name__ == "__main__":
    sys.exit(main())
