"""The project's own long-lived processes: fold, archive, alerts and API; `make stream`, `make serve`."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from feature_repo.settings import Settings
from stack import ports, processes, served
from stack.environment import for_processes
from stack.java import NoJava
from stack.ports import PortTaken
from stack.processes import NotStarted, Program

SPARK, SPARK_FOLD = "spark", "fold-spark"
FOLD_READY = "plumbline_fold_store_up 1.0"
"""A line of the fold's metrics: it has reached the store and read its positions."""

ALERTS_READY = 'plumbline_alerts_following{by="rules"} 1.0'
"""A line of the alerts' metrics: the topic is followed; the scores wait for the API by themselves."""

ARCHIVE_READY = ": copied into "
ARCHIVED_TOPICS = 2
"""The archive says so in its log once for each topic whose query has begun."""


def fold(settings: Settings, number: int = 1) -> Program:
    """The fold number `number`; its metrics are at FOLD_METRICS_PORT and upward."""
    port = settings.fold_metrics_port + number - 1
    return Program(
        name="fold" if number == 1 else f"fold-{number}",
        command=[sys.executable, "-m", "streaming.fold"],
        ready=lambda: FOLD_READY in ports.http_get(f"http://{ports.LOOPBACK}:{port}/metrics")[1],
        ports={port: "FOLD_METRICS_PORT"},
        environment={**for_processes(settings), "FOLD_METRICS_PORT": str(port)},
        ready_within_s=120,
    )


def spark_fold(settings: Settings) -> Program:
    """The fold on SPARK_MASTER, instead of the processes of a group; its metrics are where the first fold's are."""
    return replace(fold(settings), name=SPARK_FOLD, command=[sys.executable, "-m", "streaming.spark_fold"], ready_within_s=180)


def archive(settings: Settings) -> Program:
    return Program(
        name="archive",
        command=[sys.executable, "-m", "streaming.archive"],
        ready=lambda: _archive_copies(settings),
        environment=for_processes(settings),
        ready_within_s=180,
    )


def alerts(settings: Settings) -> Program:
    port = settings.alerts_metrics_port
    return Program(
        name="alerts",
        command=[sys.executable, "-m", "streaming.alerts"],
        ready=lambda: ALERTS_READY in ports.http_get(f"http://{ports.LOOPBACK}:{port}/metrics")[1],
        ports={port: "ALERTS_METRICS_PORT"},
        environment={**for_processes(settings), "ALERTS_METRICS_PORT": str(port), "API_PORT": str(settings.api_port)},
        ready_within_s=120,
    )


def api(settings: Settings) -> Program:
    return Program(
        name="api",
        command=[sys.executable, "-m", "serving"],
        ready=lambda: ports.http_get(f"{served.address(settings)}/readyz")[0] == 200,
        complaint=lambda: ports.http_get(f"{served.address(settings)}/readyz")[1],
        ports={settings.api_port: "API_PORT"},
        environment=for_processes(settings),
        host=settings.api_host,
        ready_within_s=120,
    )


def start(programs: list[Program], settings: Settings) -> None:
    """Start what does not run yet, wait until all answer, and print where and with which log.

    Raises ports.PortTaken or processes.NotStarted; a process that never became ready is stopped, so that a second try
    starts anew.
    """
    started = [program for program in programs if processes.start(program, settings.data_dir)]
    for program in programs:
        try:
            processes.await_ready(program, settings.data_dir)
        except NotStarted:
            processes.stop([each.name for each in started], settings.data_dir)
            raise
        said = "started" if program in started else "runs already"
        print(f"{program.name:<12}{said}, log {processes.log_path(program.name, settings.data_dir)}", flush=True)


def _archive_copies(settings: Settings) -> bool:
    log = processes.log_path("archive", settings.data_dir)
    return log.exists() and log.read_text(errors="replace").count(ARCHIVE_READY) >= ARCHIVED_TOPICS


def make_way(wanted: Sequence[Program], settings: Settings) -> None:
    """Where folds are wanted on Spark, end those of the group, and the other way round: each goes on where the other was."""
    folds = [program.name for program in wanted if _is_fold(program.name)]
    if not folds:
        return
    on_spark = folds == [SPARK_FOLD]
    running = [name for name in processes.names(settings.data_dir) if _is_fold(name)]
    others = [name for name in running if (name == SPARK_FOLD) != on_spark]
    for name in processes.stop(others, settings.data_dir):
        print(f"{name:<12}stopped: {', '.join(folds)} goes on from the store's positions", flush=True)


def _is_fold(name: str) -> bool:
    return name.split("-")[0] == "fold"


def _wanted(settings: Settings, arguments: argparse.Namespace) -> list[Program]:
    if arguments.service == "serve":
        return [api(settings)]
    wanted = []
    if arguments.only in ("", "fold"):
        folds = arguments.folds
        wanted += [spark_fold(settings)] if folds == SPARK else [fold(settings, n) for n in range(1, folds + 1)]
    if arguments.only in ("", "archive"):
        wanted += [archive(settings)]
    if arguments.only in ("", "alerts"):
        wanted += [alerts(settings)]
    return wanted


def _folds(text: str) -> int | str:
    if text != SPARK and not (text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"FOLDS={text} is neither a number above 0 nor {SPARK}")
    return text if text == SPARK else int(text)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stack.services", description=__doc__)
    parser.add_argument("service", choices=["stream", "serve"])
    parser.add_argument("--only", default="", choices=["", "fold", "archive", "alerts"])
    parser.add_argument("--folds", type=_folds, default=1, help=f"how many processes share the partitions, or {SPARK}")
    arguments = parser.parse_args()
    try:
        settings = Settings.from_env()
        if arguments.service == "serve":
            served.make_way(settings)
        wanted = _wanted(settings, arguments)
        make_way(wanted, settings)
        start(wanted, settings)
    except (PortTaken, NotStarted, served.ContractBroken, NoJava, ValueError) as problem:
        sys.exit(f"make {arguments.service}: {problem}")
    if arguments.service == "serve":
        print(f"API         {served.address(settings)}  (docs at /docs, console at /, readiness at /readyz)")


if __name__ == "__main__":
    main()
