"""`make logs`: where the logs are, and the end of each."""

from stack import steps
from stack.environment import settings_for

LINES = 5


def main() -> None:
    folder = settings_for("logs").logs_dir
    logs = [log for log in sorted(folder.glob("*.log")) if ".previous" not in log.name]
    if not logs:
        print(f"There are no logs in {folder} yet; `make up` starts the first processes.")
    for log in logs:
        print("\n  ".join([str(log), *steps.tail(log, LINES)]) + "\n")


if __name__ == "__main__":
    main()
