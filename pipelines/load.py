"""python -m pipelines.load: raw files -> mapping -> row-level columns -> validation -> the history of the event log.

Without --source the built-in simulator's files are made and loaded, by their mapping, like anybody's.
"""

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_repo.settings import Settings
from pipelines.ingest.choice import SIMULATOR, choose_mapping
from pipelines.ingest.guard import refuse_while_archiving, sole_load
from pipelines.ingest.progress import Say, step
from pipelines.ingest.refusals import LoadRefused
from pipelines.ingest.session import opened
from pipelines.ingest.source_files import source_files
from pipelines.simulate import history as simulated

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def say_at_once(sentence: str) -> None:
    """Print, also into a pipe, while the load goes on."""
    print(sentence, flush=True)


def load(
    settings: Settings,
    source: str | None = None,
    mapping_path: Path | None = None,
    *,
    seed: int = simulated.SEED,
    spark: "SparkSession | None" = None,
    say: Say = say_at_once,
) -> dict[str, Any]:
    """Replace the history of the log by `source` (None: the simulator, of the settings' users and days).

    Returns the report, as in reports/load.json.

    mapping_path None: REES46's mapping where the header is REES46's. `spark` is a session to use instead of an own one.
    Raises LoadRefused, with the log as it was, when the load must be refused whole.
    """
    with sole_load(settings):
        refuse_while_archiving(settings)
        if source is None:
            folder, users, days = settings.data_dir / "raw" / "simulator", settings.simulate_users, settings.simulate_days
            with step(say, f"simulated {users} users over {days} days, seed {seed}"):
                simulated.write_raw_files(folder, users, days, seed, say)
            source, mapping_path, name = str(folder), SIMULATOR, "simulator"
        else:
            name = source
        return _load(settings, source, mapping_path, name, spark, say)


def _load(
    settings: Settings, source: str, mapping_path: Path | None, name: str, spark: "SparkSession | None", say: Say
) -> dict[str, Any]:
    files = source_files(source)
    mapping = choose_mapping(files, mapping_path)
    say(f"loading {len(files)} file{'s' if len(files) > 1 else ''} of {name} by {mapping.name}")
    from pipelines.checks.validate import validate  # Spark and Great Expectations take seconds to import
    from pipelines.ingest import history, placing, report
    from pipelines.simulate.live import write_live_artefact

    now_us = time.time_ns() // 1_000
    size = sum(file.path.stat().st_size for file in files)
    with placing.scratch_space(settings) as scratch, opened(spark, settings, scratch, size) as session:
        loaded = history.build(session, files, mapping, scratch, now_us, say, is_simulator=name == "simulator")
        with step(say, "log validated"):
            now = datetime.fromtimestamp(now_us / 1e6, UTC)
            findings = validate(loaded.events, scratch, now, report.previous_load(settings))
        if findings.refusals:
            broken = "\n  ".join(findings.refusals)
            raise LoadRefused(f"The kept rows break the log's rules:\n  {broken}")
        refuse_while_archiving(settings)
        generation = placing.put_in_place(settings, loaded, findings.docs, now_us)
    content = report.report(settings, loaded, mapping, name, files, generation, now_us, findings.warnings)
    report.write_report(settings, content)
    write_live_artefact(settings, content)
    report.tell(content, say)
    return content


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipelines.load", description=__doc__)
    parser.add_argument(
        "--source", default="", help="a CSV, CSV.gz or Parquet file, a folder or a quoted glob; empty: the simulator"
    )
    parser.add_argument("--mapping", default="", help="a mapping file (data/README.md); empty: REES46's, by its header")
    parser.add_argument("--seed", type=int, default=simulated.SEED, help="of the simulator")
    given = parser.parse_args()
    if given.mapping and not given.source:
        sys.exit("make data: MAPPING says how to read a SOURCE; give SOURCE=path-or-glob too.")
    mapping = Path(given.mapping) if given.mapping else None
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        load(Settings.from_env(), given.source or None, mapping, seed=given.seed)
    except LoadRefused as refused:
        sys.exit(f"make data: refused, the log is as it was. {refused}")
    except (OSError, Py4JError, PySparkException) as error:
        said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        sys.exit(f"make data: failed ({type(error).__name__}): {said}")


if __name__ == "__main__":
    main()
