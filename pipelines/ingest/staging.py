"""What was staged: how many rows came in, which are kept, which are quarantined and why."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as sf

from pipelines.ingest.attribute_types import INFERRED, INTEGER, NUMBER, SCALED, inferred_type
from pipelines.ingest.refusals import LoadRefused
from pipelines.ingest.spark_schema import ddl

DUPLICATE = "duplicate"
PLACE = "file int, row bigint"


@dataclass(frozen=True)
class RefusedRow:
    """Where the first row refused for a reason stands (index of the file, row) and its text as it was."""

    file: int
    row: int
    original: str


class Staging:
    """The staged rows in `folder`/rows and, once found, the places of duplicates in `folder`/duplicates.

    first_refused: reason -> the first row refused for it, once `counts` was asked.
    """

    def __init__(self, spark: SparkSession, folder: Path, schema: pa.Schema) -> None:
        self.spark = spark
        self.folder = folder
        self.rows = spark.read.schema(ddl(schema)).parquet(str(folder / "rows"))
        self.duplicates = spark.createDataFrame([], PLACE)
        self.first_refused: dict[str, RefusedRow] = {}

    def counts(self) -> tuple[int, dict[str, int]]:
        """Rows in, and refused rows by reason; raises LoadRefused with a file's complaint about the whole load."""
        fatal = sf.min_by("fatal", sf.struct("file", "row")).alias("fatal")
        refused = sf.when(sf.isnotnull("reason"), sf.struct("file", "row", "original"))
        first = sf.min_by(refused, sf.struct("file", "row")).alias("first")
        found = self.rows.groupBy("reason", sf.isnotnull("fatal")).agg(sf.count("*").alias("rows"), fatal, first).collect()
        for row in found:
            if row["fatal"] is not None:
                raise LoadRefused(row["fatal"])
        by_reason = {row["reason"]: row["rows"] for row in found}
        self.first_refused = {row["reason"]: RefusedRow(*row["first"]) for row in found if row["first"]}
        rows_in = sum(by_reason.values())
        by_reason.pop(None, None)
        return rows_in, by_reason

    def find_duplicates(self) -> int:
        """Of the good rows with one event_id the first in file order stays; returns how many others there are."""
        order = Window.partitionBy("event_id").orderBy("file", "row")
        good = self.rows.where("reason is null").select("event_id", "file", "row")
        later = good.withColumn("place", sf.row_number().over(order)).where("place > 1")
        path = self.folder / "duplicates"
        later.select("file", "row").write.parquet(str(path))
        self.duplicates = self.spark.read.schema(PLACE).parquet(str(path))
        return sum(pq.read_metadata(file).num_rows for file in path.glob("*.parquet"))

    def kept(self) -> DataFrame:
        """The rows of the log to be: no reason against them and first of their event_id."""
        return self.rows.where("reason is null").join(self.duplicates, ["file", "row"], "left_anti")

    def quarantined(self, file_names: list[str]) -> DataFrame:
        """file (its path as text), row, reason, original of every refused row; rows of one file stay together, in order."""
        later = self.rows.join(self.duplicates, ["file", "row"], "left_semi").withColumn("reason", sf.lit(DUPLICATE))
        refused = self.rows.where("reason is not null").unionByName(later)
        names = sf.array(*map(sf.lit, file_names))
        path = sf.element_at(names, sf.col("file") + 1).alias("file")
        together = refused.repartition("file").sortWithinPartitions("file", "row")
        return together.select(path, "row", "reason", "original")

    def attribute_types(self, declared: dict[str, str]) -> dict[str, str]:
        """`declared` with every `inferred` and `scaled` replaced by the narrowest type that all kept texts have."""
        open_names = [name for name, kind in declared.items() if kind in (INFERRED, SCALED)]
        if not open_names:
            return declared
        checks = [check for name in open_names for check in _checks(name)]
        found = self.kept().agg(*checks).first()
        assert found is not None  # an aggregate without groups has exactly one row
        inferred = {
            name: inferred_type(declared[name], found[f"{name}_any"], found[f"{name}_integers"], found[f"{name}_numbers"])
            for name in open_names
        }
        return declared | inferred


def _checks(name: str) -> list[Column]:
    text = sf.col(f"extra_{name}")
    return [
        sf.coalesce(sf.bool_or(text.isNotNull()), sf.lit(False)).alias(f"{name}_any"),
        sf.coalesce(sf.bool_and(text.rlike(_whole(INTEGER))), sf.lit(False)).alias(f"{name}_integers"),
        sf.coalesce(sf.bool_and(text.rlike(_whole(NUMBER))), sf.lit(False)).alias(f"{name}_numbers"),
    ]


def _whole(pattern: str) -> str:
    """The pattern of Java that matches a text from end to end; its `$` would pass over a line end."""
    return rf"\A(?:{pattern})\z"
