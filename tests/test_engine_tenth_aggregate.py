"""A reader adds a tenth aggregate by adding one file, and has it in training, in the stream and in the answer."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import plumbline

TESTS = Path(__file__).parent
RANGE = '''
"""range: the largest value less the smallest. Intermediate: (n, smallest, largest). Nothing has no range."""

from plumbline.aggregates.entry import FLOAT, INTEGER, NULL, VALUE, Entry, Floats, Words
from plumbline.compiled import inlined


@inlined
def update_integer(w: Words, f: Floats, i: int, x: int, y: float) -> None:
    w[i + 1] = min(w[i + 1], x) if w[i] else x
    w[i + 2] = max(w[i + 2], x) if w[i] else x
    w[i] += 1


@inlined
def merge_integer(w: Words, f: Floats, i: int, from_w: Words, from_f: Floats, j: int) -> None:
    if from_w[j]:
        w[i + 1] = min(w[i + 1], from_w[j + 1]) if w[i] else from_w[j + 1]
        w[i + 2] = max(w[i + 2], from_w[j + 2]) if w[i] else from_w[j + 2]
        w[i] += from_w[j]


@inlined
def finalize_integer(w: Words, f: Floats, i: int, out_w: Words, out_f: Floats, o: int) -> int:
    out_w[o] = w[i + 2] - w[i + 1]
    return VALUE if w[i] else NULL


@inlined
def update_float(w: Words, f: Floats, i: int, x: int, y: float) -> None:
    f[i + 1] = min(f[i + 1], y) if w[i] else y
    f[i + 2] = max(f[i + 2], y) if w[i] else y
    w[i] += 1


@inlined
def merge_float(w: Words, f: Floats, i: int, from_w: Words, from_f: Floats, j: int) -> None:
    if from_w[j]:
        f[i + 1] = min(f[i + 1], from_f[j + 1]) if w[i] else from_f[j + 1]
        f[i + 2] = max(f[i + 2], from_f[j + 2]) if w[i] else from_f[j + 2]
        w[i] += from_w[j]


@inlined
def finalize_float(w: Words, f: Floats, i: int, out_w: Words, out_f: Floats, o: int) -> int:
    out_f[o] = f[i + 2] - f[i + 1]
    return VALUE if w[i] else NULL


ENTRIES = (
    Entry("range", INTEGER, "column", 3, update_integer, merge_integer, finalize_integer),
    Entry("range", FLOAT, "column", 3, update_float, merge_float, finalize_float),
)
'''


@pytest.fixture(scope="module")
def with_range(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the engine that has one more file."""
    folder = tmp_path_factory.mktemp("engine")
    package = Path(plumbline.__file__).parent
    shutil.copytree(package, folder / "plumbline", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "plumbline" / "aggregates" / "range.py").write_text(RANGE.lstrip())
    return folder


def said(engine: Path, *command: str | Path) -> str:
    """What a Python program says that runs with this copy of the engine."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(engine), str(TESTS)))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.long
def test_a_tenth_aggregate_is_right_in_history_in_the_fold_and_in_the_read(with_range, tmp_path, redis_server):
    output = said(with_range, sys.executable, TESTS / "tenth_aggregate_lab.py", tmp_path, redis_server)

    assert [line for line in output.splitlines() if "compared" in line] == [
        "history: 360 compared, 0 different",
        "history as known: 360 compared, 0 different",
        "materialized: 18 compared, 0 different",
        *["folded: 18 compared, 0 different"] * 3,
    ]


@pytest.mark.long
def test_the_laws_of_the_algebra_are_tested_for_a_tenth_aggregate_too(with_range):
    pytest_program = Path(sys.executable).parent / "pytest"

    output = said(with_range, pytest_program, "-q", "-k", "range", TESTS / "test_engine_algebra.py")

    assert "8 passed" in output
