"""The whole product as its user has it: a checkout, the README's own commands, and a bank's export to load."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from free_ports import free_port
from lent_kernels import lend_kernels

from feature_repo.settings import PROJECT_ROOT, Settings, read_dotenv
from pipelines.simulate import history
from stack import processes, stamps

README = PROJECT_ROOT / "README.md"
USERS, DAYS = 150, 30
FRAUD_AMOUNT = "4999.00"
PORTS = ("KAFKA_PORT", "REDIS_PORT", "MLFLOW_PORT", "API_PORT", "FOLD_METRICS_PORT", "ALERTS_METRICS_PORT", "FEAST_UI_PORT")
COMMAND_WITHIN_S = 600


@dataclass(frozen=True)
class Block:
    """A fenced block of the README: the heading it stands under, its language and its text."""

    section: str
    language: str
    text: str

    @property
    def first_line(self) -> str:
        return self.text.splitlines()[0]


def readme_blocks(section: str | None = None) -> list[Block]:
    """The README's fenced blocks in order; of one section, or of all."""
    found, heading = [], ""
    for part in re.finditer(r"^## ([^\n]+)$|^```(\w*)\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL):
        heading = part[1] or heading
        if part[3] is not None:
            found.append(Block(heading, part[2], part[3]))
    return [block for block in found if section in (None, block.section)]


@dataclass(frozen=True)
class Said:
    """A command that has ended: its exit code and everything it printed."""

    code: int
    text: str


@dataclass(frozen=True)
class Checkout:
    """A folder with the project's files; its settings are the lines of its `.env`, as a user would write them."""

    root: Path

    @property
    def settings(self) -> Settings:
        return Settings.from_env(read_dotenv(self.root / ".env"))

    @property
    def api(self) -> str:
        return f"127.0.0.1:{self.settings.api_port}"

    def sh(self, text: str) -> str:
        """What the README's shell lines print here, where the API has a port of its own; fails at the first that fails."""
        return self.run("set -e\n" + text.replace("localhost:8000", self.api))

    def kill(self, name: str) -> None:
        """End one process as a crash does, and wait until it is gone; what it started is left behind."""
        process = processes.running(name, self.settings.data_dir)
        assert process is not None, f"{name} does not run"
        process.send_signal(signal.SIGKILL)
        process.wait(10)

    def tell(self, command: str, within_s: float = COMMAND_WITHIN_S) -> Said:
        """Run a line of shell in the checkout and wait for its end."""
        with self.begin(command) as process:
            text, _ = process.communicate(timeout=within_s)
        return Said(process.returncode, text)

    def run(self, command: str, within_s: float = COMMAND_WITHIN_S) -> str:
        """What a line of shell prints; the test fails when its exit code is not 0."""
        said = self.tell(command, within_s)
        assert said.code == 0, f"{command}: exit code {said.code}\n{said.text}"
        return said.text

    def begin(self, command: str) -> subprocess.Popen[str]:
        """Run a line of shell in the checkout, without waiting for it; stdout and stderr in one pipe."""
        return subprocess.Popen(
            ["/bin/sh", "-c", command],
            cwd=self.root,
            env=surroundings(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def processes(self) -> dict[int, str]:
        """Pid -> command line of every live process whose command line or environment names the data directory."""
        return {process.pid: line for process in psutil.process_iter() if (line := _naming(process, self.settings.data_dir))}


@contextlib.contextmanager
def checkout(folder: Path) -> Iterator[Checkout]:
    """A copy of this checkout's files in `folder`, its own `.env`; at the end everything it started is stopped."""
    product = Checkout(folder / "plumbline")
    _copy_files(product.root)
    _lend_parts(product.root / ".parts")
    _lend_packages(product.root / ".venv")
    variables = {"DATA_DIR": str(folder / "data"), **{name: str(free_port()) for name in PORTS}}
    (product.root / ".env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    try:
        yield product
    finally:
        product.tell("make stop")


def bring_up(product: Checkout) -> None:
    """From a bank's export to a running product, by the README's own mapping and commands."""
    write_export(product.root)
    for block in readme_blocks("Bring your own data"):
        if block.language == "yaml":
            (product.root / "mapping.yaml").write_text(block.text)
    for block in readme_blocks("Bring your own data"):
        if block.language == "sh":
            product.sh(block.text)


def write_export(folder: Path) -> None:
    """Two files as the README's mapping expects them: a small simulated world's payments, up to now, in Oslo's time.

    Every tenth customer's account is in wrong hands: every other payment from it is a large fraud, which both models learn.
    """
    rows = history.raw_rows(np.random.default_rng(history.SEED), USERS, DAYS)
    paid = rows[rows["kind"] == "payment"]
    happened = pd.to_datetime(paid["happened_at"], utc=True)
    local = (happened + (datetime.now(UTC) - happened.max())).dt.tz_convert("Europe/Oslo").dt.tz_localize(None)
    number = paid["customer"].str.removeprefix("u-").astype(int)
    fraud = (number % 10 == 0) & (paid.groupby("customer").cumcount() % 2 == 1)
    export = pd.DataFrame(
        {
            "tx_time": local.dt.strftime("%Y-%m-%dT%H:%M:%S.%f"),
            "customer": paid["customer"],
            "terminal": paid["merchant"],
            "phone": paid["device"],
            "amount": paid["amount"].mask(fraud, FRAUD_AMOUNT),
            "is_fraud": fraud.astype(int),
            "plan": np.where(number % 3 == 0, "gold", "basic"),
        }
    )
    for name, part in zip("ab", np.array_split(np.arange(len(export)), 2), strict=True):
        export.iloc[part].to_csv(folder / f"transactions-{name}.csv.gz", index=False)


def surroundings() -> Mapping[str, str]:
    """This process's environment without what would reach into the copy: settings, make's variables, the project's path."""
    settings = re.findall(r"^([A-Z_]+)=", (PROJECT_ROOT / ".env.example").read_text(), re.MULTILINE)
    inner = {*settings, "PYTHONPATH", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "VIRTUAL_ENV"}
    return {name: value for name, value in os.environ.items() if name not in inner}


def _copy_files(root: Path) -> None:
    """The files that git knows or would, as they are now, and what was compiled from them."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True).stdout
    for path in filter(Path.is_file, (PROJECT_ROOT / name for name in listed.split("\0") if name)):
        copy = root / path.relative_to(PROJECT_ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    lend_kernels(root / "plumbline")


def _lend_parts(parts: Path) -> None:
    """Every part installed in ours; not the lock, for which a set-up of our own would have to wait."""
    parts.mkdir()
    for part in (PROJECT_ROOT / ".parts").iterdir():
        if part.name != stamps.LOCK.name:
            (parts / part.name).symlink_to(part)


def _lend_packages(environment: Path) -> None:
    """A virtual environment that finds the packages installed in ours: so nothing is installed, and ours stays as it is."""
    venv.create(environment, symlinks=True)
    lent = "".join(f"{folder}\n" for folder in sys.path if Path(folder).name == "site-packages")
    for own in environment.glob("lib/python*/site-packages"):
        (own / "lent.pth").write_text(lent)
    stamps.write(environment, stamps.read(Path(sys.prefix)))


def _naming(process: psutil.Process, folder: Path) -> str:
    """The command line of a process that names `folder` there or in its environment; empty for others and for zombies."""
    try:
        words = [*process.cmdline(), *process.environ().values()]
        return " ".join(process.cmdline()) if any(str(folder) in word for word in words) else ""
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return ""
