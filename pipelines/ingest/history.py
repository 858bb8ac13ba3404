"""One load, from files to the new history of the log; nothing of the old one changes before the last step."""

from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf

from feature_repo.event_schema import LABELS, TRANSACTIONS
from pipelines.ingest import log_files
from pipelines.ingest.choice import check_headers
from pipelines.ingest.columns import columns_report, measure
from pipelines.ingest.label_texts import label_texts
from pipelines.ingest.mapping import Mapping
from pipelines.ingest.parse import ParseFiles, stage
from pipelines.ingest.progress import Say, reading, step
from pipelines.ingest.refusals import LoadRefused
from pipelines.ingest.source_files import SourceFile
from pipelines.ingest.spans import Durations, durations
from pipelines.ingest.spark_schema import ddl
from pipelines.ingest.staged_row import COLUMNS, staged_schema
from pipelines.ingest.staging import DUPLICATE, RefusedRow, Staging
from pipelines.simulate import inject

QUARANTINE = pa.schema([("file", pa.string()), ("row", pa.int64()), ("reason", pa.string()), ("original", pa.string())])
SCENARIO = pa.schema([("event_id", pa.string()), ("scenario", pa.string()), ("injected", pa.bool_())])


@dataclass
class Loaded:
    """What a load found and wrote; its folders are in the scratch space, not yet in place."""

    events: Path
    quarantine: Path
    scenario: Path
    rows_in: int
    by_reason: dict[str, int]
    oldest_us: int
    newest_us: int
    shift_us: int
    durations: Durations
    attributes: dict[str, str]
    columns: dict[str, dict[str, Any]]
    first_refused: dict[str, RefusedRow]
    label_texts: list[dict[str, Any]]
    labels_undated: int
    injected: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def rows_quarantined(self) -> int:
        return sum(self.by_reason.values())

    @property
    def rows_kept(self) -> int:
        return self.rows_in - self.rows_quarantined


def build(
    spark: SparkSession,
    files: list[SourceFile],
    mapping: Mapping,
    scratch: Path,
    now_us: int,
    say: Say,
    *,
    is_simulator: bool,
) -> Loaded:
    """Everything a load writes, under `scratch`. Raises LoadRefused when it must be refused whole."""
    spark.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    spark.conf.set("spark.sql.caseSensitive", "true")  # attributes `Income` and `income` are two
    declared = check_headers(files, mapping)
    task = ParseFiles(files, mapping, declared, now_us, scratch / "progress")
    with step(say, "rows read"), reading(say, files, task.progress):
        stage(spark, task, scratch / "rows")
    staging = Staging(spark, scratch, task.schema)
    rows_in, by_reason = staging.counts()
    with step(say, "duplicates found"):
        if duplicates := staging.find_duplicates():
            by_reason[DUPLICATE] = duplicates
    by_reason = dict(sorted(by_reason.items(), key=lambda item: (-item[1], item[0])))
    _refuse_if_nothing_kept(rows_in, by_reason, files)
    loaded = _measured(staging, mapping, scratch, now_us, rows_in, by_reason, is_simulator)
    loaded.attributes = staging.attribute_types(declared)
    with step(say, "log written"):
        _write(staging, mapping, loaded, files)
    return loaded


def _refuse_if_nothing_kept(rows_in: int, by_reason: MappingType[str, int], files: list[SourceFile]) -> None:
    where = str(files[0].path) if len(files) == 1 else f"{len(files)} files ({files[0].path}, ...)"
    if rows_in == 0:
        raise LoadRefused(f"{where}: no row after the header; there is nothing to load.")
    if sum(by_reason.values()) == rows_in:
        reason, count = next(iter(by_reason.items()))
        raise LoadRefused(f"{where}: none of {rows_in} rows could be kept; the commonest reason, {count} times: {reason}.")


def _measured(
    staging: Staging,
    mapping: Mapping,
    scratch: Path,
    now_us: int,
    rows_in: int,
    by_reason: dict[str, int],
    is_simulator: bool,
) -> Loaded:
    ends = measure(staging.kept(), mapping)
    is_simulated = is_simulator or mapping.inject_scenarios
    found = durations(ends["newest"] - ends["oldest"], None if is_simulator else mapping.label, is_simulated)
    return Loaded(
        events=scratch / "events",
        quarantine=scratch / "quarantine",
        scenario=scratch / "scenario",
        rows_in=rows_in,
        by_reason=by_reason,
        oldest_us=ends["oldest"],
        newest_us=ends["newest"],
        shift_us=now_us - ends["newest"] if mapping.shift_to_now else 0,
        durations=found,
        attributes={},
        columns=columns_report(mapping, ends, by_reason),
        first_refused=staging.first_refused,
        label_texts=label_texts(staging.kept()) if mapping.label and mapping.label.positive else [],
        labels_undated=ends["undated"],
    )


def _write(staging: Staging, mapping: Mapping, loaded: Loaded, files: list[SourceFile]) -> None:
    rows = staging.kept().select(*COLUMNS, *(f"extra_{name}" for name in loaded.attributes))
    rows = rows.withColumn("injected", sf.lit(False))
    if mapping.inject_scenarios:
        rows = _with_scenarios(staging, rows, loaded)
    events, shift_us = loaded.events, loaded.shift_us
    log_files.write_log(rows, log_files.transactions, TRANSACTIONS, shift_us, events / "transactions")
    if mapping.label or mapping.inject_scenarios:
        labelled = rows.where("is_fraud is not null and known_us is not null")
        log_files.write_log(labelled, log_files.labels, LABELS, shift_us, events / "labels")
    else:
        log_files.write_empty_log(LABELS, events / "labels")
    for folder, rules in (
        ("user_profile", mapping.profile),
        ("user_attributes", mapping.attributes),
        ("market", mapping.market),
    ):
        if rules:
            key = () if folder == "market" else ("user_id",)
            _write_changes(rows, key, {name: loaded.attributes[name] for name in rules}, shift_us, events / folder)
    if mapping.scenario or mapping.inject_scenarios:
        _write_scenario(rows, loaded)
    else:
        log_files.write_empty(loaded.scenario, SCENARIO)
    _write_quarantine(staging, loaded, files)


def _write_quarantine(staging: Staging, loaded: Loaded, files: list[SourceFile]) -> None:
    if not loaded.rows_quarantined:
        log_files.write_empty(loaded.quarantine, QUARANTINE)
        return
    refused = staging.quarantined([str(file.path) for file in files])
    refused.write.option("compression", "zstd").parquet(str(loaded.quarantine))
    log_files.name_history(loaded.quarantine)


def _with_scenarios(staging: Staging, rows: DataFrame, loaded: Loaded) -> DataFrame:
    """The source's rows labelled honest after the simulated delay, and the simulated frauds among them."""
    delay_us = int((loaded.durations.label_delay_s or 0) * 1e6)
    honest = rows.withColumn("is_fraud", sf.lit(0).cast("bigint"))
    honest = honest.withColumn("known_us", sf.col("event_timestamp") + delay_us)
    loaded.injected = inject.injected_events(inject.sample(rows), loaded.oldest_us, loaded.newest_us)
    if loaded.injected.empty:
        return honest
    wanted = staged_schema([])
    table = pa.Table.from_pandas(
        loaded.injected.reindex(columns=COLUMNS), pa.schema([wanted.field(name) for name in COLUMNS]), preserve_index=False
    )
    path = staging.folder / "injected.parquet"
    pq.write_table(table, path)
    injected = staging.spark.read.schema(ddl(table.schema)).parquet(str(path)).withColumn("injected", sf.lit(True))
    return honest.unionByName(injected, allowMissingColumns=True)


def _write_changes(rows: DataFrame, key: tuple[str, ...], names: dict[str, str], shift_us: int, folder: Path) -> None:
    """One row for each event that has any of the values: a row without one says nothing."""
    has_any = sf.coalesce(*(sf.col(f"extra_{name}") for name in names)).isNotNull()
    shape, schema = log_files.changes(key, names), log_files.change_schema(key, names)
    log_files.write_flat(rows.where(has_any).orderBy("event_timestamp", "event_id"), shape, schema, shift_us, folder)


def _write_scenario(rows: DataFrame, loaded: Loaded) -> None:
    """What only a simulator, or the mapping's `scenario`, knows: beside the log, where no feature looks."""
    known = rows.where("scenario is not null").select(SCENARIO.names)
    known.repartition(1).sortWithinPartitions("event_id").write.parquet(str(loaded.scenario))
    log_files.name_history(loaded.scenario)
    if not any(loaded.scenario.glob("*.parquet")):
        log_files.write_empty(loaded.scenario, SCENARIO)
