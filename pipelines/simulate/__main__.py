"""python -m pipelines.simulate: write simulated raw files into a folder, to look at or to load.

The bank (default) is loaded by `make data` and by pipelines/mappings/simulator.yaml; the shop by
`make data SOURCE='<folder>/*.parquet'`, being in the REES46 format. Both may have any size: users are made in blocks.
"""

import argparse
import time
from functools import partial
from pathlib import Path

from feature_repo.settings import Settings
from pipelines.simulate import history
from pipelines.simulate.shop.files import write_shop


def main() -> None:
    settings = Settings.from_env()
    parser = argparse.ArgumentParser(prog="python -m pipelines.simulate", description=__doc__)
    parser.add_argument("--world", choices=["bank", "shop"], default="bank")
    parser.add_argument("--out", type=Path, help="a folder; default: raw/simulator or raw/shop of DATA_DIR")
    parser.add_argument("--users", type=int, default=settings.simulate_users)
    parser.add_argument("--days", type=int, default=settings.simulate_days)
    parser.add_argument("--seed", type=int, default=history.SEED)
    given = parser.parse_args()
    out = given.out or settings.data_dir / "raw" / ("simulator" if given.world == "bank" else "shop")
    say = partial(print, flush=True)
    began_cpu, began = time.process_time(), time.perf_counter()
    if given.world == "shop":
        events = write_shop(out, given.users, given.days, history.UNTIL_US, given.seed, say)
    else:
        events = history.write_raw_files(out, given.users, given.days, given.seed, say)
    spent, passed = time.process_time() - began_cpu, time.perf_counter() - began
    size = sum(path.stat().st_size for path in out.glob("part-*"))
    print(
        f"{events:,} events in {out} ({size / 1e6:.1f} MB), in {passed:.1f} s; {events / spent:,.0f} a second of processor time"
    )


if __name__ == "__main__":
    main()
