"""`make leakage`: the same model with six leaks, each beside the honest pipeline: what it shows and what it is worth."""

import argparse
import sys
import time
import warnings

from feature_repo import open_store
from feature_repo.settings import Settings
from pipelines.leakage.ground import honest_ground
from pipelines.leakage.leaks import LEAKS
from pipelines.leakage.report import table, written
from pipelines.training.labels import TrainingRefusedError
from pipelines.training.progress import Progress
from pipelines.training.study import worth

SEED = 7


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipelines.leakage", description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    seed = parser.parse_args().seed
    warnings.filterwarnings("ignore", "Stream feature views are experimental", RuntimeWarning)
    settings, progress = Settings.from_env(), Progress()
    try:
        ground = honest_ground(open_store(settings), settings, time.time_ns() // 1000, seed)
    except TrainingRefusedError as refused:
        sys.exit(f"make leakage: {refused}")
    test = ground.parts["test"]
    progress.say(f"{len(ground.parts['fit'].fraud):,} rows to fit on, {len(test.fraud):,} to test on")
    honest = worth(test.fraud, ground.model(test.features), seed)
    leaks = []
    for leak in LEAKS:
        leaks.append(leak(ground))
        progress.say(leaks[-1].name)
    paths = written(settings.reports_path, honest, leaks, {"seed": seed, "rows": len(test.fraud)})
    print("\n".join(["", *table(honest, leaks), "", *(f"wrote {path}" for path in paths)]))


if __name__ == "__main__":
    main()
