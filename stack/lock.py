"""`make lock`: compile the hashed locks anew from what pyproject.toml and package.json declare."""

import os
import sys

from feature_repo.settings import PROJECT_ROOT
from stack import steps
from stack.python_parts import LOGS

LOCKS = PROJECT_ROOT / "requirements"
COMPILE = (
    *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"),
    *("--generate-hashes", "--no-emit-index-url", "--no-header", "pyproject.toml"),
)
"""One lock for every platform, with hashes and without the name of an index."""

WANTED = {
    "dev": ["--group", "dev", "--extra", "spark"],
    "app": ["--group", "app", "--constraint", "requirements/dev.lock"],
    "engine": ["--constraint", "requirements/dev.lock"],
}
"""dev: what `make setup` installs. app: what the image runs. engine: what the published wheel needs. All agree."""


def main() -> None:
    """UPGRADE=1 takes the newest versions that fit; else what is pinned stays where it still fits."""
    upgrade = ["--upgrade"] if os.environ.get("UPGRADE") else []
    try:
        for name, options in WANTED.items():
            command = [*COMPILE, *options, *upgrade, "--output-file", f"requirements/{name}.lock"]
            steps.run(f"Locking requirements/{name}.lock", command, LOGS / "lock.log", cwd=PROJECT_ROOT)
        npm = ["npm", "install", "--package-lock-only", "--omit-lockfile-registry-resolved", "--ignore-scripts"]
        steps.run("Locking package-lock.json", npm, LOGS / "lock.log", cwd=PROJECT_ROOT)
    except steps.StepFailed as problem:
        sys.exit(f"make lock: {problem}")


if __name__ == "__main__":
    main()
