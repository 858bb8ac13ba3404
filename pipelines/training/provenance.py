"""Where a model comes from: the code, the locked dependencies and the data it was trained on."""

import hashlib
import json
import subprocess
from pathlib import Path

from feature_repo.settings import PROJECT_ROOT, Settings

LOCK = PROJECT_ROOT / "requirements" / "app.lock"
UNKNOWN = "unknown"


def provenance(settings: Settings) -> dict[str, str]:
    """Tags of a run: git_commit (`-changed` where files differ from it), lock_hash (SHA-256 of the locked dependencies),
    data_source, data_generation; `unknown` where there is no git, lock or record of the load."""
    return {"git_commit": git_commit(PROJECT_ROOT), "lock_hash": _hash(LOCK), **_data(settings)}


def git_commit(folder: Path) -> str:
    """The commit checked out in `folder`, with `-changed` where tracked files differ from it."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return UNKNOWN
    return f"{commit}-changed" if _git(folder, "status", "--porcelain", "--untracked-files=no") else commit


def _data(settings: Settings) -> dict[str, str]:
    record = settings.transactions_path / "_commits" / "history.json"
    report = settings.reports_path / "load.json"
    generation = json.loads(record.read_text()).get("generation", UNKNOWN) if record.exists() else UNKNOWN
    source = json.loads(report.read_text()).get("source", UNKNOWN) if report.exists() else UNKNOWN
    return {"data_source": str(source), "data_generation": str(generation)}


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.exists() else UNKNOWN


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
