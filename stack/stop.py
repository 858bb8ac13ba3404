"""`make stop`: end every process that this data directory's stack started, and nothing else."""

from stack import processes
from stack.embedded import PARTS
from stack.environment import settings_for


def main() -> None:
    """Readers and writers first, then what they read and write; prints what was stopped."""
    data_dir = settings_for("stop").data_dir
    everyone = processes.names(data_dir)
    services = [name for name in everyone if name not in PARTS]
    parts = [name for name in ("mlflow", "kafka", "redis") if name in everyone]
    stopped = processes.stop(services, data_dir) + processes.stop(parts, data_dir)
    print(f"stopped: {', '.join(stopped)}" if stopped else f"nothing of {data_dir} was running")


if __name__ == "__main__":
    main()
