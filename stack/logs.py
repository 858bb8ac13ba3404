"""`make logs`: where the logs are, and the end of each."""

from feature_repo.settings import Settings
from stack import steps

LINES = 5


def main() -> None:
    folder = Settings.from_env().logs_dir
    logs = [log for log in sorted(folder.glob("*.log")) if ".previous" not in log.name]
    if not logs:
        print(f"There are no logs in {folder} yet; `make up` starts the first processes.")
    for log in logs:
        print("\n  ".join([str(log), *steps.tail(log, LINES)]) + "\n")


if __name__ == "__main__":
    main()
