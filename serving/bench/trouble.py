"""`python -m serving.bench --trouble`: what goes wrong in a service's life, one thing after the other, under load.

A stack of its own (broker, store, a registry in a file) by the project's commands, the service as `make serve` runs it, and
an open loop of requests while

    champion   another version becomes champion
    store      the store is killed and started again
    broker     the broker is killed and started again
    crowd      twice as many requests come as the service has capacity for

happen. A JSON line each, on standard output and in $DATA_DIR/reports/bench-serve-trouble.jsonl. Exits with 1 where an answer
was wrong, was anything but 200 or an honest 503, where the service did not come back by itself, or a decision was not logged.
"""

import json
import tempfile
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from feature_repo.settings import Settings
from serving.bench.definition import Definition
from serving.bench.figures import outcome
from serving.bench.ordeal import Ordeal
from serving.bench.world import World

SECONDS = 60.0
RATE = 100.0
USERS = 1_000
BEGINS = 0.25
"""Share of a load after which the trouble begins."""
PROMOTED = "2"
"""The version that becomes champion under load; at the end all answers are its."""

CALM = 0.1
"""Share of a load, at its end, in which every answer must be 200 again."""


def run(scale: float) -> int:
    """0 when every trouble was survived; scale 1 is a minute each."""
    reports = Settings.from_env().reports_path
    reports.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="plumbline-trouble-") as folder:
        lines = measure(Path(folder), scale)
    (reports / "bench-serve-trouble.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return 0 if all(line["survived"] for line in lines) else 1


def measure(folder: Path, scale: float) -> list[dict[str, Any]]:
    """Every trouble: its line."""
    world = World(max(50, round(USERS * scale)), seed=7, began=datetime.now(UTC))
    history, seconds = world.history(), max(20.0, SECONDS * scale)
    lines = []
    with Ordeal(folder) as ordeal:
        ordeal.begin(history)
        definition, capacity = Definition(history), ordeal.capacity(world)
        troubles: list[tuple[str, float, Callable[[], object]]] = [
            ("champion", RATE, ordeal.promote),
            ("store", RATE, lambda: ordeal.restart("redis")),
            ("broker", RATE, lambda: ordeal.restart("kafka")),
            ("crowd", 2 * capacity, lambda: None),
        ]
        for name, rate, happens in troubles:
            trouble = threading.Timer(BEGINS * seconds, happens)
            trouble.start()
            result = ordeal.load(world, rate, seconds)
            trouble.join()
            calm = ordeal.load(world, RATE / 2, max(2.0, CALM * seconds))
            lines.append(line(name, rate, result, calm, definition))
            print(json.dumps(lines[-1]), flush=True)
        unlogged, lost = ordeal.unlogged()
    swapped = lines[-1]["versions"] == [PROMOTED]
    figures = {"not_in_topic": unlogged, "lost": lost, "champion_swapped": swapped, "survived": lost == 0 and swapped}
    lines.append({"bench": "serve-trouble", "trouble": "after all", **figures})
    print(json.dumps(lines[-1]), flush=True)
    return lines


def line(name: str, rate: float, result: dict[str, Any], calm: dict[str, Any], definition: Definition) -> dict[str, Any]:
    """What a load under trouble, and the one after it, say. An answer that never came is status 0."""
    answers = [json.loads(text) for _, text in result["kept"]]
    answers = [answer for answer in answers if "features" in answer]
    wrong = [text for answer in answers for text in definition.wrong(answer)]
    versions = sorted({answer["model"]["version"] for answer in answers})
    seen = set(result["status"])
    survived = not wrong and seen <= {200, 503} and 200 in seen and set(calm["status"]) == {200}
    return {
        "bench": "serve-trouble", "trouble": name, "rate": round(rate), **outcome(result),
        "refused_for_s": refused_for_s(result["status"], rate), "checked": len(answers), "wrong": len(wrong),
        "versions": versions, "status_after": sorted(set(calm["status"])), "survived": survived,
    }  # fmt: skip


def refused_for_s(statuses: Sequence[int], rate: float) -> float:
    """From the first request that was not answered with 200 to the last one, by the instants they were sent at."""
    places = [place for place, status in enumerate(statuses) if status != 200]
    return round((places[-1] - places[0] + 1) / rate, 2) if places else 0.0
