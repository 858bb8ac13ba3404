"""python -m pipelines.data_docs: print the page of the data docs to open, and what the last load was."""

import json
import sys

from feature_repo.settings import Settings


def main() -> None:
    settings = Settings.from_env()
    page = settings.data_dir / "data_docs" / "index.html"
    if not page.exists():
        sys.exit(f"There are no data docs at {page} yet. Run `make data`.")
    print(page)
    report = settings.reports_path / "load.json"
    if report.exists():
        loaded = json.loads(report.read_text())
        rows = f"{loaded['rows_kept']} of {loaded['rows_in']} rows kept"
        print(f"loaded {loaded['loaded_at']} from {loaded['source']}: {rows}")


if __name__ == "__main__":
    main()
