"""The German credit data (Statlog, Prof. Hofmann; UCI, CC BY 4.0) as a file with a header, so that a mapping can read it."""

import csv
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from pipelines.ingest.refusals import LoadRefused

COLUMNS = (
    "checking_account", "duration_months", "credit_history", "purpose", "credit_amount", "savings", "employment_since",
    "installment_rate", "status_and_sex", "other_debtors", "residence_since", "property", "age_years", "other_plans", "housing",
    "existing_credits", "job", "people_liable", "telephone", "foreign_worker", "risk",
)  # fmt: skip
"""The 20 attributes of german.doc in order, and the class: 1 good, 2 bad."""

CLASSES = ("1", "2")
AMOUNT, DURATION = COLUMNS.index("credit_amount"), COLUMNS.index("duration_months")
FIRST_APPLICATION = datetime(1990, 1, 1, tzinfo=UTC)
APART = timedelta(hours=1)
"""The data has no times: applicant n (from 1, in the file's order) is taken to apply n hours after FIRST_APPLICATION."""

READ_TO_KNOW = 4096


def is_german(source: Path) -> bool:
    """Whether a file is german.data as UCI has it: no header, 21 fields between blanks, the first of them A11 to A14."""
    if not source.is_file():
        return False
    with source.open("rb") as file:
        begin = file.read(READ_TO_KNOW).decode("utf-8", errors="replace").split("\n", 1)[0].split()
    return len(begin) == len(COLUMNS) and begin[0] in ("A11", "A12", "A13", "A14")


def with_header(source: Path, folder: Path) -> Path:
    """`source` as CSV in `folder` with columns `applicant`, `applied_at`, COLUMNS as they are, and `amount_a_month`.

    The last is credit_amount / duration_months, to the cent: a column of the row, computed once where it enters.

    Raises LoadRefused, naming the line, for one that has not 21 fields, or another class than 1 and 2.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "german.csv"
    with source.open(encoding="utf-8") as lines, path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["applicant", "applied_at", *COLUMNS, "amount_a_month"])
        for number, line in enumerate((line for line in lines if line.strip()), start=1):
            fields = line.split()
            if len(fields) != len(COLUMNS):
                raise LoadRefused(f"{source}, line {number}: {len(fields)} fields, where german.data has {len(COLUMNS)}.")
            if fields[-1] not in CLASSES:
                raise LoadRefused(f"{source}, line {number}: class {fields[-1]!r}, where german.data has 1 (good) or 2 (bad).")
            a_month = Decimal(fields[AMOUNT]) / Decimal(fields[DURATION])
            writer.writerow([number, (FIRST_APPLICATION + number * APART).isoformat(), *fields, f"{a_month:.2f}"])
    return path
