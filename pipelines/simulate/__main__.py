"""python -m pipelines.simulate: write the simulated raw files into a folder, to look at or to load by their mapping."""

import argparse
from pathlib import Path

from feature_repo.settings import Settings
from pipelines.simulate import history


def main() -> None:
    settings = Settings.from_env()
    parser = argparse.ArgumentParser(prog="python -m pipelines.simulate", description=__doc__)
    parser.add_argument("--out", type=Path, default=settings.data_dir / "raw" / "simulator")
    parser.add_argument("--users", type=int, default=settings.simulate_users)
    parser.add_argument("--days", type=int, default=settings.simulate_days)
    parser.add_argument("--seed", type=int, default=history.SEED)
    given = parser.parse_args()
    paths = history.write_raw_files(given.out, given.users, given.days, given.seed)
    print(f"{len(paths)} files in {given.out} ({sum(path.stat().st_size for path in paths) / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
