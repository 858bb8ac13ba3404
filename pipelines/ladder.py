"""`make ladder`: what each kind of feature adds, from the transaction alone to streaming windows, on one simulated world."""

import argparse
import json
import os
import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from feature_repo import open_store
from feature_repo.settings import Settings
from pipelines.definitions import apply_definitions
from pipelines.leakage.ground import SERVICE, Ground, honest_ground
from pipelines.training.features import training_features
from pipelines.training.parts import Part
from pipelines.training.progress import Progress
from pipelines.training.study import CONTEXT, STATELESS, fitted, with_placeholders, worth

USERS, DAYS, SEED = 3_000, 120, 7
MOST_HONEST = 250_000
FAST = ("_10m", "_1h", "_6h", "_changed")
"""Ends of the names of what only a stream can keep fresh."""


def rungs(names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The features of each rung, each with all before it; the last is everything."""
    profile = tuple(name for name in names if name.startswith(("user_profile__", "user_attributes__")))
    reported = tuple(name for name in names if "_chargebacks__" in name)
    fast = tuple(name for name in names if name.endswith(FAST) or (name.startswith(CONTEXT) and "_1h_" in name))
    long = tuple(name for name in names if name not in {*STATELESS, *profile, *reported, *fast})
    return {
        "stateless": STATELESS,
        "+ profile": (*STATELESS, *profile),
        "+ long windows": (*STATELESS, *profile, *long),
        "+ reported risk": (*STATELESS, *profile, *long, *reported),
        "+ streaming windows": names,
    }


def climb(ground: Ground, progress: Progress) -> dict[str, dict[str, Any]]:
    """Average precision of each rung on the test rows; all but the last read their windows as a nightly batch left them."""
    names = tuple(ground.asked.features.column_names)
    nightly = _nightly(ground)
    climbed = {}
    for rung, features in rungs(names).items():
        parts = ground.parts if features == names else nightly.parts
        model = fitted(parts["fit"], parts["validation"], ground.seed, features)
        climbed[rung] = worth(parts["test"].fraud, model(parts["test"].features), ground.seed)
        progress.say(_line(rung, climbed[rung]))
    test = ground.parts["test"]
    climbed["placeholders at serving"] = worth(test.fraud, _served_placeholders(ground, test), ground.seed)
    progress.say(_line("placeholders at serving", climbed["placeholders at serving"]))
    return climbed


def _served_placeholders(ground: Ground, test: Part) -> Any:
    return ground.model(with_placeholders(test.features))


def _nightly(ground: Ground) -> Ground:
    """The same rows with windows as of the last midnight (UTC); the transaction's own columns stay its own."""
    examples = ground.asked.examples
    midnight = examples.entity_rows["event_timestamp"].dt.floor("D")
    then = replace(examples, entity_rows=examples.entity_rows.assign(event_timestamp=midnight))
    return ground.instead(training_features(ground.store, SERVICE, then.only(ground.asked.asked)))


def _line(rung: str, found: Mapping[str, Any]) -> str:
    low, high = found["average_precision_ci"]
    return f"{rung:<26} average precision {found['average_precision']:.3f} [{low:.3f}, {high:.3f}]"


def _make_world(settings: Settings, users: int, days: int, seed: int) -> None:
    """Load a world of its own into settings.data_dir and apply the definitions to it, once for each size and seed."""
    made = settings.data_dir / "world.json"
    wanted = {"users": users, "days": days, "seed": seed}
    if made.exists() and json.loads(made.read_text(encoding="utf-8")) == wanted:
        return
    from pipelines.load import load

    load(replace(settings, simulate_users=users, simulate_days=days), seed=seed)
    apply_definitions(settings)
    made.write_text(json.dumps(wanted), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipelines.ladder", description=__doc__)
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args()
    warnings.filterwarnings("ignore", "Stream feature views are experimental", RuntimeWarning)
    platform, progress = Settings.from_env(), Progress()
    os.environ["DATA_DIR"] = str(platform.data_dir / "ladder")  # the definitions read it when they are imported
    settings = Settings.from_env()
    _make_world(settings, given.users, given.days, given.seed)
    ground = honest_ground(open_store(settings), settings, time.time_ns() // 1000, given.seed, MOST_HONEST)
    test = ground.parts["test"]
    base = f"{int(test.fraud.sum()):,} of {len(test.fraud):,} test rows are fraud ({test.fraud.mean():.4f})"
    progress.say(f"{given.users:,} users, {given.days} days: {base}")
    climbed = climb(ground, progress)
    platform.reports_path.mkdir(parents=True, exist_ok=True)
    path = platform.reports_path / "ladder.json"
    path.write_text(json.dumps({**vars(given), "rungs": climbed}, indent=1, allow_nan=False), encoding="utf-8")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
