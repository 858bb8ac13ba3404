"""Set-up says clearly what is missing, settings are written down, locks are whole, make lists what it can do."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from feature_repo.settings import PROJECT_ROOT, Settings
from stack import chromium, kernel_parts, reporting, stamps
from stack.run import runnable

TARGETS = {
    "setup", "up", "stop", "data", "docs", "apply", "train", "materialize", "stream", "produce", "serve", "demo",
    "status", "logs", "ui", "check", "test", "bench", "bench-serve", "chaos", "parity", "replay", "leakage",
    "promote", "rollback", "score", "clean",
}  # fmt: skip
"""Design, section 7."""

LOCKS_FOLDER = PROJECT_ROOT / "requirements"
LOCKS = sorted(LOCKS_FOLDER.glob("*.lock"))


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    quiet = ["make", "--no-print-directory", *arguments]
    return subprocess.run(quiet, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)


def test_bare_make_lists_every_target_with_one_line():
    listed = re.findall(r"^  make (\S+) +(\S.*)$", make().stdout, re.MULTILINE)

    assert {name for name, _ in listed} >= TARGETS
    assert len(listed) == len({name for name, _ in listed})


def test_a_second_setup_installs_nothing():
    done = make("setup")

    assert (done.returncode, done.stdout) == (0, "")


def test_a_set_up_waits_for_the_one_that_runs_already(tmp_path):
    lock = tmp_path / "parts" / ".lock"
    second = (
        "from pathlib import Path; from stack import stamps\n"
        f"with stamps.one_set_up_at_a_time(Path({str(lock)!r})): print('my turn')"
    )

    with stamps.one_set_up_at_a_time(lock):
        waiting = subprocess.Popen([sys.executable, "-c", second], stdout=subprocess.PIPE, text=True)
        assert waiting.stdout.readline() == "Another make sets this checkout up; waiting for it ...\n"
    said, _ = waiting.communicate(timeout=30)

    assert (said, waiting.returncode) == ("my turn\n", 0)


def test_the_engines_loops_are_compiled_once_for_what_is_installed(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(kernel_parts, "DONE", tmp_path)
    monkeypatch.setattr(kernel_parts, "LOGS", tmp_path)
    monkeypatch.setattr(kernel_parts, "PROGRAM", tmp_path / "compiled.py")
    (tmp_path / "compiled.py").write_text('if __name__ == "__main__":\n    main()\n')
    monkeypatch.setattr(kernel_parts, "VENV_PYTHON", "/bin/echo")

    kernel_parts.install()
    first = capfd.readouterr().out
    kernel_parts.install()

    assert first.startswith("Compiling the engine's loops")
    assert (tmp_path / "kernels.log").read_text() == "-m plumbline.compiled\n"
    assert capfd.readouterr().out == ""


def test_an_image_whose_sources_come_later_compiles_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(kernel_parts, "DONE", tmp_path)
    monkeypatch.setattr(kernel_parts, "PROGRAM", tmp_path / "compiled.py")

    kernel_parts.install()

    assert capfd.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_target_without_a_program_says_so_and_fails():
    done = subprocess.run(
        [sys.executable, "-m", "stack.run", "fly", "pipelines.fly"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert done.stderr == "make fly: not built yet (this checkout has no program pipelines.fly).\n"


def test_a_module_that_does_nothing_when_run_is_no_program():
    assert runnable("stack.status")
    assert not runnable("stack.steps")


def test_an_old_python_names_itself_and_what_is_needed():
    too_old = "import sys; sys.version_info = (3, 8, 10); from stack import install; install.main()"

    done = subprocess.run(
        [sys.executable, "-c", too_old],
        env={"PATH": "/nonexistent"},
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("make setup: Python 3.11 or newer is needed, this is 3.8")


def test_a_stamp_changes_with_what_was_installed(tmp_path):
    lock = tmp_path / "dev.lock"
    lock.write_text("feast==0.67.0\n")
    before = stamps.of(lock)
    stamps.write(tmp_path, before)

    lock.write_text("feast==0.67.1\n")

    assert stamps.read(tmp_path) == before
    assert stamps.of(lock) != before


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_pins_every_package_with_a_hash_and_names_no_host(lock):
    text = lock.read_text()
    pins = re.findall(r"^[a-z0-9].*==", text, re.MULTILINE)

    assert len(pins) > 50
    assert len(re.findall(r"^[a-z0-9][^\n]*==[^\n]*\\\n    --hash=sha256:", text, re.MULTILINE)) == len(pins)
    assert "://" not in text
    assert "index-url" not in text


def test_every_declared_dependency_is_pinned_within_what_was_declared():
    declared = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())
    groups = [declared["project"]["dependencies"], *declared["dependency-groups"].values()]
    wanted = [Requirement(text) for group in groups for text in group if isinstance(text, str)]
    pinned = dict(re.findall(r"^([a-z0-9._-]+)==([^ ;]+)", (LOCKS_FOLDER / "dev.lock").read_text(), re.MULTILINE))

    unlocked = [str(each) for each in wanted if not each.specifier.contains(pinned.get(canonicalize_name(each.name), "0"))]

    assert unlocked == [], "run `make lock`"


def test_the_locks_agree_with_each_other():
    pins: dict[str, set[str]] = {}
    for lock in LOCKS:
        for name, version, marker in re.findall(r"^([a-z0-9._-]+)==([^ ;]+)([^\\]*)", lock.read_text(), re.MULTILINE):
            pins.setdefault(f"{name}{marker.strip()}", set()).add(version)

    assert {name: versions for name, versions in pins.items() if len(versions) > 1} == {}


def test_the_browser_lock_names_no_registry():
    text = (PROJECT_ROOT / "package-lock.json").read_text()

    assert '"resolved"' not in text
    assert text.count('"integrity"') > 50


def test_a_machine_that_has_a_chromium_is_brought_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "chromium").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert not chromium.is_wanted()
    assert chromium.found() == chromium.Chromium(tmp_path / "chromium", {})


def test_env_example_lists_every_setting_with_its_default():
    example = (PROJECT_ROOT / ".env.example").read_text()
    written = dict(line.split("=", 1) for line in example.splitlines() if line and not line.startswith("#"))
    source = (PROJECT_ROOT / "feature_repo" / "settings.py").read_text()
    read = set(re.findall(r'(?:env\.get\(|_[a-z]+\(env, |^ *embedded_\w+=)"([A-Z_]+)"', source, re.MULTILINE))

    assert set(written) == read
    assert Settings.from_env(written) == Settings.from_env({})


def test_a_traceback_becomes_one_line_and_stays_in_the_log(tmp_path, capfdbinary):
    code = "import sys; print('10%', end='', file=sys.stderr, flush=True); raise ValueError('no such column')"
    log = tmp_path / "load.log"

    exit_code = reporting.run("data", [sys.executable, "-c", code], os.environ, log)

    shown = capfdbinary.readouterr()
    assert exit_code == 1
    assert b"10%" in log.read_bytes()
    assert b"Traceback" in log.read_bytes()
    assert b"Traceback" not in shown.err
    assert f"make data: ValueError: no such column (the whole story: {log})".encode() in shown.err
