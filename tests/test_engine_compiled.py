"""What is compiled is compiled once, and never from other sources than those that run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import plumbline

PACKAGE = Path(plumbline.__file__).parent
MEAN_OF_FIVE = """
import numpy as np
from plumbline.aggregates.mean import update_integer

words = np.zeros(3, np.int64)
update_integer(words, words.view(np.float64), 0, 5, 0.0)
print(words.tolist())
"""
HASHES = """
from plumbline.compiled import PACKAGE, sources_hash
print(*(sources_hash(PACKAGE / name) for name in ("fold_kernel.py", "late_kernels.py", "aggregates/registry.py")))
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the engine's sources, without what was compiled from them."""
    return Path(shutil.copytree(PACKAGE, tmp_path / "plumbline", ignore=shutil.ignore_patterns("__pycache__")))


def started(package: Path, code: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(package.parent)}
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=package.parent, env=environment, stdout=subprocess.PIPE, text=True
    )


def said(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return output.strip()


def edit(path: Path, old: str, new: str) -> None:
    source = path.read_text()
    assert old in source
    path.write_text(source.replace(old, new))


def test_a_change_in_a_file_that_was_compiled_into_another_is_noticed(package):
    before = said(started(package, MEAN_OF_FIVE))
    edit(package / "aggregates" / "sum.py", "w[i + 1] = total & LOW_MASK", "w[i + 1] = (total & LOW_MASK) + 1")
    after = said(started(package, MEAN_OF_FIVE))

    assert (before, after) == ("[1, 0, 5]", "[1, 0, 6]")


def test_a_change_costs_the_compilation_of_what_it_was_compiled_into_and_no_other(package):
    before = said(started(package, HASHES)).split()
    edit(package / "feature_store.py", "class FeatureStore", "\n\nclass FeatureStore")
    unrelated = said(started(package, HASHES)).split()
    edit(package / "timeline.py", "class Timeline", "\n\nclass Timeline")
    offline = said(started(package, HASHES)).split()
    (package / "aggregates" / "skew.py").write_text("ENTRIES = ()")
    another = said(started(package, HASHES)).split()

    assert unrelated == before
    assert [old != new for old, new in zip(before, offline, strict=True)] == [False, True, False]
    assert [old != new for old, new in zip(offline, another, strict=True)] == [True, False, True]


def test_processes_that_compile_at_once_leave_what_the_next_one_loads(package):
    together = [started(package, MEAN_OF_FIVE) for _ in range(3)]
    answers = [said(process) for process in together]
    compiled = sorted((package / "aggregates" / "__pycache__").glob("mean.update_integer-*.nbc"))
    next_one = said(started(package, MEAN_OF_FIVE))

    assert answers == ["[1, 0, 5]"] * 3
    assert len(compiled) == 1
    assert next_one == "[1, 0, 5]"
    assert sorted((package / "aggregates" / "__pycache__").glob("mean.update_integer-*.nbc")) == compiled


def test_what_was_compiled_from_other_sources_long_ago_is_removed(package):
    cache = package / "aggregates" / "__pycache__"
    cache.mkdir()
    for name, age_s in (("mean.update_integer-12-0ld.py311.nbi", 2 * 86_400), ("mean.update_integer-12-n3w.py311.nbi", 60)):
        (cache / name).touch()
        then = (cache / name).stat().st_mtime - age_s
        os.utime(cache / name, (then, then))

    said(started(package, MEAN_OF_FIVE))

    assert not list(cache.glob("*0ld*"))
    assert list(cache.glob("*n3w*"))
