"""Run the expectations over a log that was just written, and leave data docs that open without a network."""

import os
import random
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.event_schema import LABELS, TRANSACTIONS
from pipelines.checks import steadiness
from pipelines.checks.offline_docs import make_offline

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

    from pipelines.checks.expectations import Previous

MOST_ROWS = 2_000_000
NOT_SAID = ("batch_id", "column_list", "partition_object")
SITE = Path("gx") / "uncommitted" / "data_docs" / "local_site"


@dataclass
class Findings:
    """Sentences about what did not hold: `refusals` refuse the load, `warnings` are printed; `docs` has the pages."""

    docs: Path
    refusals: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def validate(events: Path, scratch: Path, now: datetime, previous: "Previous | None") -> Findings:
    """Check the transaction and label logs under `events`; data docs are made in `scratch`.

    Schemas are compared exactly, in every file. Of more than two million rows a sample of whole files is checked
    (uniqueness over all rows is the loader's own doing).
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    from pipelines.checks import expectations  # Great Expectations takes seconds to import

    findings = Findings(scratch / SITE)
    suites = {
        "transactions": (TRANSACTIONS, expectations.of_transactions(now, previous)),
        "labels": (LABELS, expectations.of_labels(now)),
    }
    context = _context(scratch)
    for name, (schema, suite) in suites.items():
        files = sorted((events / name).glob("*/*.parquet"))
        findings.refusals += [
            f"{name}: {file} does not have the log's columns and types" for file in files if not _has(file, schema)
        ]
        rows = _sample(files)
        if len(rows) and not findings.refusals:
            _judge(_run(context, name, suite, rows), name, findings)
    _judge_steadiness(context, events, findings)
    make_offline(findings.docs)
    return findings


def _judge_steadiness(context: Any, events: Path, findings: Findings) -> None:
    """Say which days and which columns of profiles are not as the others; only ever a warning."""
    from pipelines.checks import expectations

    if not (days := steadiness.days_of(events / "transactions")).empty:
        _judge(_run(context, "days", expectations.of_days(days), days), "days", findings)
    for name in ("user_profile", "user_attributes"):
        if (events / name).exists() and (shifts := steadiness.shifts_of(events / name)):
            _judge(_run(context, name, expectations.of_shifts(shifts), pd.DataFrame([shifts])), name, findings)


def _has(file: Path, schema: pa.Schema) -> bool:
    return bool(pq.read_schema(file).equals(schema, check_metadata=False))


def _sample(files: list[Path]) -> pd.DataFrame:
    """All rows, or those of randomly chosen files (always the same) up to MOST_ROWS."""
    chosen: list[Path] = []
    rows = 0
    for file in random.Random(0).sample(files, len(files)):
        rows += pq.read_metadata(file).num_rows
        if chosen and rows > MOST_ROWS:
            break
        chosen.append(file)
    tables = [pq.read_table(file, partitioning=None) for file in sorted(chosen)]
    return pa.concat_tables(tables).to_pandas() if tables else pd.DataFrame()


def _context(scratch: Path) -> Any:
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="file", project_root_dir=str(scratch))
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def _run(context: Any, name: str, suite: "list[Expectation]", rows: pd.DataFrame) -> Any:
    """The results of one suite over `rows`; its page joins the data docs."""
    import great_expectations as gx

    source = context.data_sources.add_pandas(name)
    batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("kept rows")
    expected = context.suites.add(gx.ExpectationSuite(name, expectations=suite))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=expected))
    docs = gx.checkpoint.UpdateDataDocsAction(name="docs")
    checkpoint = context.checkpoints.add(gx.Checkpoint(name=name, validation_definitions=[definition], actions=[docs]))
    outcome = checkpoint.run(batch_parameters={"dataframe": rows})
    return next(iter(outcome.run_results.values())).results


def _judge(results: Any, name: str, findings: Findings) -> None:
    for result in results:
        if not result.success:
            config = result.expectation_config
            is_warning = config.severity == "warning"
            (findings.warnings if is_warning else findings.refusals).append(f"{name}: {_sentence(config, result)}")


def _sentence(config: Any, result: Any) -> str:
    """What was expected, in words where the expectation has them, and what was seen, or the error."""
    asked = {key: value for key, value in config.kwargs.items() if key not in NOT_SAID}
    said = ", ".join(f"{key}={value}" for key, value in asked.items())
    expected = config.description or f"{config.type.replace('_', ' ')} ({said})"
    raised = [info["exception_message"] for info in _exceptions(result.exception_info) if info.get("raised_exception")]
    if raised:
        return f"{expected}: could not be computed: {raised[0]}"
    count = result.result.get("unexpected_count")
    seen = f"{count} rows are not" if count else f"observed {result.result.get('observed_value')}"
    return f"{expected}: {'it is not so, ' if config.description else ''}{seen}"


def _exceptions(info: dict[str, Any]) -> list[dict[str, Any]]:
    return [info] if "raised_exception" in info else [entry for entry in info.values() if isinstance(entry, dict)]
