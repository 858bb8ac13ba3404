"""`make clean`: stop everything and delete what the project generated under DATA_DIR; what was installed stays."""

import shutil
from pathlib import Path

from feature_repo.settings import PROJECT_ROOT
from stack import stop
from stack.environment import settings_for

GENERATED = (
    *("kafka", "redis", "mlflow", "run", "logs", "events", "quarantine", "reports", "data_docs"),
    *("checkpoints", "models", "spool", "registry.db", "raw/simulator", "scenario", "simulator", "mlflow-artifacts", "chaos"),
    *("compacting", "dead-letters.jsonl", "dead-letters.previous.jsonl", "bench-stream", "credit"),
)
CACHES = (".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", "build", "dist", "spark-warehouse")


def main() -> None:
    """Only names that the project writes are deleted, so that DATA_DIR may be a folder with other things in it."""
    data_dir = settings_for("clean").data_dir
    stop.main()
    deleted = [name for name in GENERATED if _delete(data_dir / name)]
    if (data_dir / "raw").is_dir() and not any((data_dir / "raw").iterdir()):
        (data_dir / "raw").rmdir()
    for name in CACHES:
        _delete(PROJECT_ROOT / name)
    left = sorted(path.name for path in data_dir.glob("*")) if data_dir.exists() else []
    print(f"deleted from {data_dir}: {', '.join(deleted) or 'nothing'}; left there: {', '.join(left) or 'nothing'}")


def _delete(path: Path) -> bool:
    if not path.exists():
        return False
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    return True


if __name__ == "__main__":
    main()
