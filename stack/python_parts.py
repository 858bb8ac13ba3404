"""The virtual environment of the checkout, filled from a hashed lock."""

import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path

from feature_repo.settings import PROJECT_ROOT
from stack import stamps, steps

VENV = PROJECT_ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
LOGS = PROJECT_ROOT / ".parts"
SYSTEM_CERTIFICATES = {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"}
"""uv trusts what the machine trusts, a company's certificate included; the second name is the older one."""
FEAST = VENV / "bin" / "feast"
FEAST_WITH_SETTINGS = f"""\
#!{VENV_PYTHON}
# Feast's own command line, given what feature_store.yaml expands; written by `make setup`.
import sys

from stack.feast_cli import as_feast

sys.exit(as_feast())
"""
PIP = (VENV_PYTHON, "-m", "pip", "--disable-pip-version-check")


class NoVenv(RuntimeError):
    """This Python cannot make a virtual environment; the message says which package is missing."""


def install(lock: str) -> None:
    """Make .venv and install requirements/<lock>.lock into it, every file checked against its hash.

    Uses uv where it can (faster), else pip, which also knows a machine's own mirrors and certificates. Both compile to
    bytecode here and now, so that no process does it each time where Python may not write any itself.
    Raises NoVenv or steps.StepFailed.
    """
    LOGS.mkdir(exist_ok=True)
    path = PROJECT_ROOT / "requirements" / f"{lock}.lock"
    wanted = stamps.of(path)
    if not VENV_PYTHON.exists():
        _make_venv()
    if stamps.read(VENV) != wanted:
        _install_packages(path)
        stamps.write(VENV, wanted)
    _put_checkout_on_path()
    _give_feast_the_settings()


def _make_venv() -> None:
    uv = shutil.which("uv")
    command: list[str | Path]
    if importlib.util.find_spec("ensurepip"):
        command = [sys.executable, "-m", "venv", "--clear", VENV]
    elif uv:
        command = [uv, "venv", "--clear", "--python", sys.executable, VENV]
    else:
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        raise NoVenv(
            f"{sys.executable} cannot make a virtual environment: its module ensurepip is missing. "
            f"On Debian and Ubuntu run `sudo apt-get install {package}`, then the same make command again."
        )
    steps.run(f"Making .venv with {sys.executable}", command, LOGS / "venv.log")


def _install_packages(lock: Path) -> None:
    packages = sum(1 for line in lock.read_text().splitlines() if "==" in line)
    title = f"Installing {packages} Python packages into .venv (minutes the first time)"
    arguments: list[str | Path] = ["install", "--no-deps", "--require-hashes", "-r", lock]
    uv = _uv(lock)
    if uv:
        try:
            command = [uv, "pip", *arguments, "--python", VENV_PYTHON, "--compile-bytecode"]
            return steps.run(title, command, LOGS / "uv.log", environment={**os.environ, **SYSTEM_CERTIFICATES})
        except steps.StepFailed as refused:
            print(f"{refused}\nTrying pip, which knows this machine's mirrors and certificates.")
    return steps.run(title, [*PIP, *arguments], LOGS / "pip.log")


def _uv(lock: Path) -> Path | None:
    """The uv of PATH, else the lock's, installed first because it is twice as fast; None without either."""
    found = shutil.which("uv")
    pinned = re.search(r"^uv==(?:.*\\\n)*.*\n", lock.read_text(), re.MULTILINE)
    if found or not pinned:
        return Path(found) if found else None
    requirement = LOGS / "uv-requirement.txt"
    requirement.write_text(pinned[0])
    steps.run("Installing uv into .venv", [*PIP, "install", "--require-hashes", "-r", requirement], LOGS / "uv-by-pip.log")
    return VENV / "bin" / "uv"


def _put_checkout_on_path() -> None:
    """Our folders are an application, not a distribution: a .pth file makes them importable."""
    for site_packages in VENV.glob("lib/python*/site-packages"):
        path = site_packages / "plumbline_checkout.pth"
        if not path.exists() or path.read_text() != f"{PROJECT_ROOT}\n":
            path.write_text(f"{PROJECT_ROOT}\n")


def _give_feast_the_settings() -> None:
    """`feast -c feature_repo ...` itself reads no .env and has no defaults: it would look for a registry named ${...}."""
    if not FEAST.exists() or FEAST.read_text() != FEAST_WITH_SETTINGS:
        FEAST.unlink(missing_ok=True)
        FEAST.write_text(FEAST_WITH_SETTINGS)
        FEAST.chmod(0o755)
