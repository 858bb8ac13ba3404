"""The jars of the broker and of Spark's Kafka connector, fetched by the Ivy that the pyspark wheel ships."""

import shutil
from pathlib import Path

from feature_repo.settings import PROJECT_ROOT
from stack import stamps, steps
from stack.python_parts import LOGS, VENV

IVY_FILE = PROJECT_ROOT / "ivy.xml"
JARS = PROJECT_ROOT / ".parts" / "jars"
CONFS = ("broker", "spark")


def install() -> None:
    """Fetch each conf of ivy.xml into .parts/jars/<conf>/, checksums verified; a second checkout uses Ivy's own cache.

    Raises steps.StepFailed, naming the log, when a jar cannot be had.
    """
    wanted = stamps.of(IVY_FILE)
    for conf in CONFS:
        if stamps.read(JARS / conf) != wanted:
            _fetch(conf)
            stamps.write(JARS / conf, wanted)


def _fetch(conf: str) -> None:
    from stack.java import java

    unfinished = JARS / f"{conf}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    ivy: list[str | Path] = [java(), "-jar", _ivy_jar(), "-ivy", IVY_FILE, "-confs", conf]
    steps.run(
        f"Fetching the JVM parts of conf `{conf}` (under a minute)",
        [*ivy, "-retrieve", f"{unfinished}/[artifact]-[revision].[ext]"],
        LOGS / f"ivy-{conf}.log",
    )
    shutil.rmtree(JARS / conf, ignore_errors=True)
    unfinished.rename(JARS / conf)


def _ivy_jar() -> Path:
    return next(VENV.glob("lib/python*/site-packages/pyspark/jars/ivy-*.jar"))
