"""`make demo`: all of it from nothing, then one user scored from a live event and proved offline."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from kafka.errors import KafkaError

from feature_repo.settings import Settings
from stack import api_client, demo_report, live_event, processes, services, ui
from stack.java import NoJava
from stack.ports import PortTaken
from stack.processes import NotStarted

SHOWN = (
    "user_activity__event_id_count_1h",
    "user_payments__payment_id_count_1d",
    "user_payments__payment_cents_sum_1d",
)
COUNTING_VIEW = SHOWN[0].partition("__")[0]
COUNTED_WITHIN_S = 60.0
PROVED_WITHIN_S = 120.0

Steps = Mapping[str, Callable[[], object]]


class DemoError(RuntimeError):
    """A step of the demo failed; what it printed says why."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stack.demo", description=__doc__)
    parser.add_argument("--source", default="", help="raw files as `make data SOURCE=` takes them; else the simulator")
    parser.add_argument("--mapping", default="", help="their mapping, as `make data MAPPING=` takes it")
    arguments = parser.parse_args()
    began = time.monotonic()
    try:
        settings = Settings.from_env()
        build(settings, arguments.source, arguments.mapping)
        report = prove(settings)
    except (DemoError, PortTaken, NotStarted, NoJava, ValueError, KafkaError) as problem:
        sys.exit(f"make demo: {problem}")
    except (api_client.ApiRefusedError, live_event.NoHistoryError) as problem:
        sys.exit(f"make demo: {problem}")
    demo_report.write(settings, report)
    print("\n".join(["", *demo_report.story(report), "", *demo_report.addresses(settings)]))
    print(f"\nThe demo took {time.monotonic() - began:.0f} s and is still running: `make status`, `make stop`.")
    if report["differing"]:
        sys.exit(f"make demo: {len(report['differing'])} of {report['compared']} values differ: {report['differing']}")


def build(settings: Settings, source: str, mapping: str) -> None:
    """From raw files to a running API, one step after the other."""
    run_steps(
        {
            **preparation(settings, source, mapping),
            "fold, archive and alerts": lambda: services.start(
                [services.fold(settings), services.archive(settings), services.alerts(settings)], settings
            ),
            "REST API": lambda: services.start([services.api(settings)], settings),
            "Feast's user interface": lambda: ui.bring_up(settings),
        }
    )


def preparation(settings: Settings, source: str, mapping: str) -> Steps:
    """From raw files to models and online state, with whatever of it is embedded brought up first."""
    data = [sys.executable, "-m", "stack.run", "data", "pipelines.load", "--source", source, "--mapping", mapping]
    return {
        "broker, store, model registry": lambda: _module("stack.embedded"),
        "raw files to the event log": lambda: _load(settings, data),
        "feature definitions": lambda: _module("stack.feast_cli", "apply"),
        "model registry answers": lambda: _module("stack.embedded", "--wait-for-mlflow"),
        "models": lambda: _module("stack.run", "train", "pipelines.train"),
        "online state": lambda: _module("stack.feast_cli", "materialize"),
    }


def run_steps(steps: Steps) -> None:
    """Run each step under its title and number, and say how many seconds it took."""
    for number, (title, step) in enumerate(steps.items(), start=1):
        print(f"\n[{number}/{len(steps)}] {title}", flush=True)
        began = time.monotonic()
        step()
        print(f"      {time.monotonic() - began:.1f} s", flush=True)


def prove(settings: Settings) -> dict[str, Any]:
    """Send one live event, wait until it counts, score the user's next payment, and recompute that answer offline.

    Returns what demo_report writes. Raises DemoError when the event is not counted, or the answer cannot be recomputed.
    """
    event = live_event.payment_of_a_known_user(settings.transactions_path)
    user_id = event["user_id"]
    before = api_client.features(settings, user_id)
    partition, offset = live_event.send(settings.kafka_bootstrap_servers, event)
    sent_at = time.monotonic()
    after = _counted(settings, user_id, partition, offset)
    counted_after_ms = (time.monotonic() - sent_at) * 1e3
    transaction = {name: value for name, value in event.items() if name not in ("event_id", "event_timestamp", "user_id")}
    answer = api_client.score(settings, user_id, transaction)
    compared = _recomputed(answer["request_id"])
    return {
        "user_id": user_id,
        "event": {**event, "partition": partition, "offset": offset},
        "counted_after_ms": round(counted_after_ms, 1),
        "before": {name: before["features"].get(name) for name in SHOWN},
        "after": {name: after["features"].get(name) for name in SHOWN},
        "answer": answer,
        "offline": {each["feature"]: each["offline"] for each in compared},
        "compared": len(compared),
        "differing": [each["feature"] for each in compared if not each["equal"]],
    }


def _module(*arguments: str) -> None:
    _command([sys.executable, "-m", *arguments])


def _command(command: list[str]) -> None:
    if subprocess.run(command, check=False).returncode != 0:
        raise DemoError(f"`{' '.join(command[1:])}` failed; see above.")


def _load(settings: Settings, command: list[str]) -> None:
    """The history cannot be replaced under a running archive, so a demo that still runs is stopped first."""
    running = [name for name in processes.names(settings.data_dir) if name.startswith(("fold", "archive", "alerts", "api"))]
    if running:
        print(f"stopped for the new history: {', '.join(processes.stop(running, settings.data_dir))}", flush=True)
    _command(command)


def _counted(settings: Settings, user_id: str, partition: int, offset: int) -> dict[str, Any]:
    """The user's features once the fold has passed the event."""
    deadline = time.monotonic() + COUNTED_WITHIN_S
    while True:
        answer = api_client.features(settings, user_id)
        if answer["positions"].get(COUNTING_VIEW, {}).get(str(partition), -1) >= offset:
            return answer
        if time.monotonic() > deadline:
            raise DemoError(
                f"The event at transactions[{partition}] offset {offset} was not counted within "
                f"{COUNTED_WITHIN_S:.0f} s; see {processes.log_path('fold', settings.data_dir)}."
            )
        time.sleep(0.02)


def _recomputed(request_id: str) -> list[dict[str, Any]]:
    """Each feature of a logged answer, as served and as recomputed from the event log."""
    print("\nrecomputing the answer from the event log, once the archive has written the event ...", flush=True)
    command = [sys.executable, "-m", "pipelines.prove", "--request-id", request_id, "--within", str(PROVED_WITHIN_S)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if not done.stdout.strip():
        raise DemoError("The answer could not be recomputed; see above.")
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
