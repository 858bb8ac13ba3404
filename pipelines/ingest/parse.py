"""The first Spark job: every file is read once, row by row, and staged as Parquet with its values or its reason."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyspark.sql import SparkSession

from pipelines.ingest.convert import Converter
from pipelines.ingest.csv_rows import CsvFile
from pipelines.ingest.mapping import Mapping
from pipelines.ingest.parquet_rows import ParquetFile
from pipelines.ingest.records import Record
from pipelines.ingest.refusals import LoadRefused, RowRefused
from pipelines.ingest.source_files import SourceFile
from pipelines.ingest.spark_schema import ddl
from pipelines.ingest.staged_row import COLUMNS, StagedRow, staged_schema

BATCH_ROWS = 10_000


@dataclass(frozen=True)
class ParseFiles:
    """The body of a Spark task: takes places in `files`, gives batches of `staged_schema`.

    A file that must refuse the whole load ends with a row whose `fatal` says why.
    `progress` is a folder where each task keeps `<file index>`: rows and bytes read so far.
    """

    files: list[SourceFile]
    mapping: Mapping
    attribute_types: dict[str, str]
    now_us: int
    progress: Path

    @property
    def schema(self) -> pa.Schema:
        return staged_schema(list(self.mapping.slowly_changing))

    def __call__(self, places: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in places:
            for place in batch.column(0).to_pylist():
                yield from self._file(self.files[place])

    def _file(self, file: SourceFile) -> Iterator[pa.RecordBatch]:
        rows: list[StagedRow] = []
        record = None
        try:
            reader = file.open()
            is_text = isinstance(reader, CsvFile)
            convert = Converter(self.mapping, reader.header, self.attribute_types, self.now_us, is_text=is_text)
            for record in reader:
                rows.append(self._staged(file.index, record, convert))
                if len(rows) == BATCH_ROWS:
                    yield self._batch(rows)
                    rows = []
                    self._note(file.index, record.row, reader)
        except LoadRefused as error:
            row = record.row if record else 0
            message = str(error) if str(file.path) in str(error) else f"{file.path}, row {row}: {error}"
            rows.append([file.index, row, message, *[None] * (len(self.schema) - 3)])
        yield self._batch(rows)

    def _staged(self, index: int, record: Record, convert: Converter) -> StagedRow:
        reason, values = record.reason, None
        if record.values is not None:
            try:
                values = convert(record.values)
            except RowRefused as error:
                reason = str(error)
        nothing = [None] * (len(COLUMNS) + len(convert.extras))
        return [index, record.row, None, reason, record.original, *(values or nothing)]

    def _batch(self, rows: list[StagedRow]) -> pa.RecordBatch:
        columns = zip(*rows, strict=True) if rows else [()] * len(self.schema)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self.schema, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _note(self, index: int, rows: int, reader: CsvFile | ParquetFile) -> None:
        (self.progress / str(index)).write_text(f"{rows} {reader.position_bytes()}")


def stage(spark: SparkSession, task: ParseFiles, staging: Path) -> float:
    """Run `task` over all its files, one Spark task each, into Parquet at `staging`; returns seconds taken."""
    started = time.monotonic()
    places = spark.range(0, len(task.files), 1, len(task.files))
    places.mapInArrow(task, ddl(task.schema)).write.parquet(str(staging))
    return time.monotonic() - started
