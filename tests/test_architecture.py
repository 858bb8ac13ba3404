"""Who may import whom, what a module may be called, and that everything public says what it is."""

import ast
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from feature_repo.settings import PROJECT_ROOT

FOLDERS = ("plumbline", "feature_repo", "pipelines", "streaming", "serving", "stack")
MAY_IMPORT = {
    "plumbline": set(),
    "feature_repo": {"plumbline"},
    "pipelines": {"feature_repo", "plumbline"},
    "streaming": {"feature_repo", "plumbline"},
    "serving": {"feature_repo", "plumbline"},
    "stack": {"feature_repo"},
}
ENGINE_DEPENDENCIES = {"feast", "numpy", "numba", "pyarrow", "redis", "pandas", "google", "pyspark"}
"""feast brings pandas and google.protobuf; pyspark is an extra, imported by plumbline/spark.py only."""

MODULES = sorted(path for folder in FOLDERS for path in (PROJECT_ROOT / folder).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Top-level names that a module imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def name_of(path: Path) -> str:
    return str(path.relative_to(PROJECT_ROOT))


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imports_only_what_the_arrows_allow(folder):
    forbidden = set(FOLDERS) - MAY_IMPORT[folder] - {folder}
    crossed = [
        (name_of(path), name)
        for path in MODULES
        if path.is_relative_to(PROJECT_ROOT / folder)
        for name in imported(path)
        if name in forbidden
    ]

    assert crossed == []


def test_stack_reads_settings_and_addresses_and_nothing_else_of_the_feature_repo():
    whole = dict.fromkeys(("feature_repo.settings", "feature_repo.kafka_address"))
    allowed = {**whole, "feature_repo": {"REPO_PATH", "kafka_address", "store_environment"}}
    for path in (PROJECT_ROOT / "stack").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("feature_repo"):
                names = allowed.get(node.module, set())
                assert names is None or {alias.name for alias in node.names} <= names, name_of(path)


def test_the_engine_imports_only_what_its_wheel_asks_for():
    foreign = {
        (name_of(path), name)
        for path in MODULES
        if path.is_relative_to(PROJECT_ROOT / "plumbline")
        for name in imported(path)
        if name not in ENGINE_DEPENDENCIES | sys.stdlib_module_names | {"plumbline"}
    }

    assert foreign == set()


def test_only_the_engines_spark_module_imports_spark():
    importers = {name_of(path) for path in MODULES if path.parts[-2] == "plumbline" and "pyspark" in imported(path)}

    assert importers <= {"plumbline/spark.py"}


def test_no_module_is_named_like_a_dependency_or_a_module_of_python():
    taken = set(packages_distributions()) | sys.stdlib_module_names
    ours = set(FOLDERS)
    named_like = [name_of(path) for path in MODULES if path.stem in taken - ours and not path.stem.startswith("__")]

    assert named_like == []


def test_tests_are_no_package_and_data_holds_no_python():
    assert list((PROJECT_ROOT / "tests").rglob("__init__.py")) == []
    assert not list((PROJECT_ROOT / "data").glob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_in_one_sentence_what_it_is(path):
    source = path.read_text()

    assert not source.strip() or ast.get_docstring(ast.parse(source))


def test_every_public_name_of_the_engine_is_documented():
    plumbline = importlib.import_module("plumbline")
    undocumented = [name for name in plumbline.__all__ if not (getattr(plumbline, name).__doc__ or "").strip()]

    assert undocumented == []


def test_every_feature_view_and_service_is_described():
    from feature_repo import definitions

    described = [value for value in definitions.feast_objects().values() if hasattr(value, "description")]

    assert described
    assert [value.name for value in described if not value.description] == []


OPENED = """
import importlib, os, pathlib, sys
import psutil
for name in sys.argv[1:]:
    importlib.import_module(name)
print(psutil.Process().net_connections(), psutil.Process().children(), os.listdir())
"""


def test_set_up_imports_nothing_that_it_has_yet_to_install():
    modules = ", ".join(f"stack.{path.stem}" for path in sorted((PROJECT_ROOT / "stack").glob("*_parts.py")))
    without_packages = [sys.executable, "-S", "-c", f"import stack.install, {modules}"]

    done = subprocess.run(without_packages, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_what_sparks_workers_run_needs_no_feast():
    modules = "plumbline.spark_tasks, streaming.archive_files, streaming.fold_task"

    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {modules}; print('feast' in sys.modules)"],
        cwd=PROJECT_ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout == "False\n"


def test_importing_an_entry_point_opens_nothing(tmp_path):
    modules = [f"stack.{path.stem}" for path in sorted((PROJECT_ROOT / "stack").glob("*.py"))]

    done = subprocess.run(
        [sys.executable, "-c", OPENED, *modules],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT_ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "[] [] []\n"
