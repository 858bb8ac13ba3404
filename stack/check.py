"""`make check`: everything a machine can say about the code without running it."""

import subprocess
import sys

from feature_repo.settings import PROJECT_ROOT
from stack.python_parts import VENV

PACKAGES = ("plumbline", "feature_repo", "pipelines", "streaming", "serving", "stack")
COMPOSE, WORKFLOW = "docker-compose.yml", ".github/workflows/ci.yml"

CHECKS = {
    "format": [sys.executable, "-m", "ruff", "format", "--check", "--quiet", "."],
    "lint": [sys.executable, "-m", "ruff", "check", "--quiet", "."],
    "types": [sys.executable, "-m", "mypy", "--no-error-summary", *(f"--package={name}" for name in PACKAGES)],
    "compose": [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE],
    "workflow": [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", WORKFLOW],
    "dockerfile": [str(VENV / "bin" / "hadolint"), "Dockerfile"],
}


def main() -> None:
    """Run every check, show what each has to say, exit with 1 when one failed."""
    failed = [name for name, command in CHECKS.items() if not _passes(name, command)]
    if failed:
        sys.exit(f"make check: {', '.join(failed)} failed; `make fix` repairs format and some lint.")


def _passes(name: str, command: list[str]) -> bool:
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    print(f"check {name:<11}{'ok' if done.returncode == 0 else 'FAILED'}", flush=True)
    if done.returncode != 0:
        print(done.stdout + done.stderr, flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    main()
