"""Which mapping reads a source (the one given, else REES46's by its header), and whether the files have its columns."""

import difflib
from collections import Counter
from pathlib import Path

import pyarrow as pa

from pipelines.ingest.attribute_types import declared_type
from pipelines.ingest.csv_rows import CsvFile
from pipelines.ingest.mapping import Mapping, read_mapping
from pipelines.ingest.parquet_rows import ParquetFile, is_readable
from pipelines.ingest.refusals import LoadRefused
from pipelines.ingest.rules import Rule
from pipelines.ingest.source_files import SourceFile

MAPPINGS = Path(__file__).resolve().parents[1] / "mappings"
SIMULATOR = MAPPINGS / "simulator.yaml"
REES46 = MAPPINGS / "rees46.yaml"
REES46_HEADER = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
EXAMPLE = """\
event_timestamp: {{column: {time}, timezone: UTC}}   # ISO 8601 text; of a number say unit: s|ms|us
user_id: {user}
event_type: {{constant: payment}}                     # or {{column: kind, values: {{purchase: payment, look: view}}}}
amount_cents: {{column: {amount}, scale: 100}}
label: {{column: is_fraud, delay: 7d}}                # where the source knows frauds"""


def choose_mapping(files: list[SourceFile], given: Path | None) -> Mapping:
    """The mapping for `files`; LoadRefused, with an example, when none is given and the header is not REES46's."""
    if given is not None:
        return read_mapping(given)
    for file in files:
        header = file.open().header
        if sorted(header) != sorted(REES46_HEADER.split(",")):
            raise LoadRefused(
                f"{file.path} is not in the REES46 format, so a mapping must say what its columns mean: "
                f"{', '.join(header)}. Run with MAPPING=mapping.yaml, for example:\n\n{_example(header)}\n"
            )
    return read_mapping(REES46)


def check_headers(files: list[SourceFile], mapping: Mapping) -> dict[str, str]:
    """Open every file once; returns the declared type of each slowly changing column (attribute_types.declared_type).

    Raises LoadRefused when a file lacks a mapped column, has it twice, or has it in a type that cannot be mapped.
    """
    readers = [file.open() for file in files]
    for reader in readers:
        _check_columns(reader, mapping)
    rules = mapping.slowly_changing
    return {name: declared_type(rule, _parquet_types(readers, rule)) for name, rule in rules.items()}


def _check_columns(reader: CsvFile | ParquetFile, mapping: Mapping) -> None:
    counts = Counter(reader.header)
    for name in mapping.source_columns():
        if counts[name] == 0:
            close = difflib.get_close_matches(name, reader.header, 1)
            hint = f" Did you mean {close[0]!r}?" if close else _other_separator(reader.header)
            columns = ", ".join(reader.header)
            raise LoadRefused(f"{reader.path} has no column {name!r}, which {mapping.name} maps.{hint} Its columns: {columns}.")
        if counts[name] > 1:
            raise LoadRefused(f"{reader.path} has the column {name!r}, which {mapping.name} maps, {counts[name]} times.")
        if isinstance(reader, ParquetFile) and not is_readable(kind := reader.types[reader.header.index(name)]):
            raise LoadRefused(f"{reader.path}: the column {name!r} is {kind}; text, numbers, booleans and times can be mapped.")


def _other_separator(header: list[str]) -> str:
    """A hint where a header of one column holds what others separate columns with; empty for any other header."""
    found = next((name for mark, name in SEPARATORS.items() if len(header) == 1 and mark in header[0]), None)
    return (
        f" Its columns seem to be separated by {found}: write the file anew with commas, and decimal points." if found else ""
    )


def _parquet_types(readers: list[CsvFile | ParquetFile], rule: Rule) -> list[pa.DataType]:
    found = []
    for reader in readers:
        if isinstance(reader, CsvFile):
            return []
        found += [reader.types[reader.header.index(name)] for name in rule.columns]
    return found


def _example(header: list[str]) -> str:
    def closest(*words: str) -> str:
        return next((name for word in words for name in header if word in name.lower()), f"<one of {', '.join(header)}>")

    return EXAMPLE.format(
        time=closest("time", "date"),
        user=closest("user", "customer", "client", "account"),
        amount=closest("amount", "price", "value"),
    )
