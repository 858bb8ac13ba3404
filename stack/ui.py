"""`make ui`: Feast's own user interface, started here, and MLflow's, which `make up` starts."""

import sys

from feature_repo.settings import LOOPBACK, Settings
from stack import feast_cli, ports, processes, services
from stack.java import NoJava
from stack.ports import PortTaken
from stack.processes import NotStarted, Program

USUAL_PORT = 8888


def program(settings: Settings, port: int) -> Program:
    return Program(
        name="ui",
        command=feast_cli.command("ui", "--host", LOOPBACK, "--port", str(port)),
        ready=lambda: ports.http_get(f"http://{LOOPBACK}:{port}/")[0] == 200,
        ports={port: "FEAST_UI_PORT"},
        environment=feast_cli.environment_of(settings),
        ready_within_s=90,
    )


def address(settings: Settings) -> str | None:
    """Where the running user interface of this data directory is; None when it does not run."""
    process = processes.running("ui", settings.data_dir)
    return f"http://{LOOPBACK}:{process.cmdline()[-1]}" if process else None


def bring_up(settings: Settings) -> str:
    """Start Feast's interface, unless it runs; returns its address.

    The port is FEAST_UI_PORT, and raises PortTaken when that is taken; unset, the first free one from 8888 on.
    """
    if address(settings) is None:
        services.start([program(settings, settings.feast_ui_port or _free_port())], settings)
    return str(address(settings))


def _free_port() -> int:
    return USUAL_PORT if ports.is_free(USUAL_PORT) else ports.next_free(USUAL_PORT)


def main() -> None:
    try:
        settings = Settings.from_env()
        feast = bring_up(settings)
    except (PortTaken, NotStarted, NoJava, ValueError) as problem:
        sys.exit(f"make ui: {problem}")
    print(f"Feast    {feast}")
    print(f"MLflow   {settings.mlflow_tracking_uri}")


if __name__ == "__main__":
    main()
