"""`python -m serving.bench [--scale S]`: the REST API under open-loop load, the stream beside it, decisions going to Kafka.

A JSON line for each server and rate on standard output and in $DATA_DIR/reports/bench-serve.jsonl, the curves in
bench-serve.png beside it. Scale 1 sends more than 100,000 requests to the service. BENCH_SCALE is the default of --scale.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from feature_repo.settings import Settings
from serving.bench import same, trouble, usual_way
from serving.bench.definition import Definition, is_checked
from serving.bench.figures import Line, plot, sustained
from serving.bench.running import NOWHERE, load, own_broker, own_store, server, stream
from serving.bench.servers import settings_of
from serving.bench.world import World, applied_store, bodies, push, write_models

RATES = (100, 200, 400, 700, 1_000, 1_400, 2_000, 2_800)
SECONDS = 12.0
BARE_RATES = (1_000, 2_000, 4_000, 6_000)
USUAL_RATES = (5, 10, 20, 40, 80, 160)
WARM_UP_S = 2.0
EVENTS_A_SECOND = 100.0
USERS = 5_000
KEPT_ONE_IN = 50


def main() -> int:
    """0 when no checked answer was wrong and nothing but 200 and 503 was answered."""
    arguments = _arguments()
    if arguments.trouble:
        return trouble.run(arguments.scale)
    return same.run(same.USERS) if arguments.same else run(arguments.scale)


def run(scale: float) -> int:
    """The curves; what main returns."""
    reports = Settings.from_env().reports_path
    reports.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="plumbline-bench-") as folder:
        lines, wrong = measure(Path(folder), scale)
    (reports / "bench-serve.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    plot(lines, reports / "bench-serve.png")
    print(summary(lines), file=sys.stderr)
    for text in wrong[:10]:
        print(f"WRONG: {text}", file=sys.stderr)
    odd = [line for line in lines if set(line["status"]) - {"200", "503"}]
    return 1 if wrong or odd else 0


def measure(folder: Path, scale: float) -> tuple[list[Line], list[str]]:
    """Every server at every rate: the lines, and what was wrong with answers."""
    world = World(max(50, round(USERS * scale)), seed=7, began=datetime.now(UTC))
    seconds = max(1.0, SECONDS * scale)
    history = world.history()
    with own_store(folder) as store, own_broker(folder / "broker") as broker:
        applied = applied_store(settings_of(folder, store, broker))
        _tell(f"folding {len(history):,} events of {world.users:,} users ...")
        push(applied, history)
        write_models(folder / "bench-models", applied)
        curve = partial(_curve, folder=folder, store=store, broker=broker)
        lines = curve("bare", "constant answer", BARE_RATES, seconds / 2, bodies(world, False))[0]
        with stream(folder, store, world, EVENTS_A_SECOND) as streamed:
            account, kept = curve("plumbline", "account", RATES, seconds, bodies(world, False))
            transaction, more = curve("plumbline", "transaction", RATES, seconds, bodies(world, True))
        events = history + [_event(text) for text in streamed.read_text().splitlines()]
    wrong = checked(Definition(events), kept + more, lines)
    with own_store(folder / "bench-models") as store:  # one of its own: nothing of ours is in it
        _tell("preparing Feast's own store and an MLflow pyfunc ...")
        usual_way.prepare(folder / "usual", store)
        usual = [f'{{"user_id":"u{n}"}}' for n in range(min(world.users, usual_way.USERS))]
        rival = _curve("feast_mlflow", "account", USUAL_RATES, seconds / 2, usual, folder, store, NOWHERE)[0]
    return lines + account + transaction + rival, wrong


def checked(definition: Definition, answers: Sequence[dict[str, Any]], lines: list[Line]) -> list[str]:
    """What is wrong with answers; adds a line that says how many values were compared."""
    wrong = [text for answer in answers for text in definition.wrong(answer)]
    values = sum(is_checked(name) for answer in answers for name in answer["features"])
    figures: Line = {"values": values, "wrong": len(wrong), "p99_ms": None, "status": {}}
    lines.append({"bench": "serve-values", "server": "plumbline", "what": "values", "rate": 0, "sent": len(answers)} | figures)
    return wrong


def summary(lines: Sequence[Line]) -> str:
    """For people: a row a rate, then what each server sustained."""
    rows = [
        f"{line['server']:<13}{line['what']:<16}{line['rate']:>6}/s  p50 {line['p50_ms']} p99 {line['p99_ms']} "
        f"p99.9 {line['p99_9_ms']} ms  {line['status']}  {line['cpu_ms']} ms cpu  {line['rss_mb']} MB"
        for line in lines
        if line["bench"] == "serve"
    ]
    pairs = dict.fromkeys((line["server"], line["what"]) for line in lines if line["bench"] == "serve")
    rows += [f"{server}, {what}: {sustained(lines, server, what):,.0f}/s within 10 ms at p99" for server, what in pairs]
    values = next(line for line in lines if line["bench"] == "serve-values")
    return "\n".join([*rows, f"{values['values']:,} values of {values['sent']:,} answers checked, {values['wrong']} wrong"])


def _curve(
    kind: str, what: str, rates: Sequence[float], seconds: float, asked: list[str], folder: Path, store: str, broker: str
) -> tuple[list[Line], list[dict[str, Any]]]:
    lines, answers = [], []
    with server(kind, folder, store, broker) as running:
        load(kind, what, running, rates[0], WARM_UP_S, asked, 10**9)
        for rate in rates:
            line, kept = load(kind, what, running, rate, seconds, asked, KEPT_ONE_IN)
            lines.append(line)
            if kind == "plumbline":
                answers += [answer for _, text in kept if "features" in (answer := json.loads(text))]
            print(json.dumps(line), flush=True)
    return lines, answers


def _event(text: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(text)
    return event | {name: datetime.fromisoformat(event[name]) for name in ("event_timestamp", "created_timestamp")}


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-serve", description="The REST API under open-loop load.")
    parser.add_argument("--scale", type=float, default=float(os.environ.get("BENCH_SCALE", "1")))
    parser.add_argument("--trouble", action="store_true", help="what goes wrong under load (serving.bench.trouble)")
    parser.add_argument("--same", action="store_true", help="the same values in three ways (serving.bench.same)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
