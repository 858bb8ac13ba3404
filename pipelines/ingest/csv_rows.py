"""CSV as RFC 4180 has it: UTF-8, comma, double quotes (line ends inside them too), one header; nothing is guessed."""

import csv
import gzip
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path

from pipelines.ingest.records import Record
from pipelines.ingest.refusals import LoadRefused

LONGEST_FIELD = 16 * 2**20
"""Characters; a longer field is a quote that somebody forgot to close."""


class CsvFile:
    """The rows of one CSV file, plain or gzipped, read once from beginning to end.

    `header` is the list of column names; iterating gives Records. A row with too many or too few fields, a NUL or
    broken quotes comes as a Record with a reason; blank lines at the end of the file are no rows.
    Raises LoadRefused, naming file and row, when the file is truncated, corrupt, not UTF-8, without a header, or has
    a quote that is never closed.
    """

    def __init__(self, path: Path, *, is_gzipped: bool) -> None:
        self.path = path
        self.is_gzipped = is_gzipped
        self.row = 0
        with self._records() as records:
            header = next(records, "")
        if isinstance(header, str) or not any(header):
            raise LoadRefused(f"{path} has no header: its first line must name the columns.")
        self.header = header

    def __iter__(self) -> Iterator[Record]:
        with self._records() as records:
            next(records)
            yield from self._checked(records)

    def position_bytes(self) -> int:
        """How much of the file has been read, for progress."""
        return 0 if self.file.closed else self.file.tell()

    def _checked(self, records: Iterator[list[str] | str]) -> Iterator[Record]:
        """A Record for each of `records`, which alternate between fields and reasons; `self.lines` has the text."""
        blank: list[Record] = []
        for fields in records:
            self.row += 1
            original = self.lines.taken_text()
            record = self._record(original, fields)
            if not original.strip("\r\n"):
                blank.append(record)
                continue
            yield from blank
            blank.clear()
            yield record

    def _record(self, original: str, fields: list[str] | str) -> Record:
        original = original.rstrip("\r\n")
        if isinstance(fields, str):
            return Record(self.row, original, None, fields)
        if "\0" in original:
            return Record(self.row, original, None, "holds a NUL character")
        if len(fields) != len(self.header):
            problem = "too few" if len(fields) < len(self.header) else "too many"
            return Record(self.row, original, None, f"has {problem} fields")
        return Record(self.row, original, [field or None for field in fields])

    @contextmanager
    def _records(self) -> Iterator[Iterator[list[str] | str]]:
        self.row = 0
        with self.path.open("rb") as self.file:
            self.lines = _Lines(self._text())
            yield self._parsed()

    def _text(self) -> TextIOWrapper:
        binary = gzip.GzipFile(fileobj=self.file) if self.is_gzipped else self.file
        return TextIOWrapper(binary, encoding="utf-8-sig", newline="")

    def _parsed(self) -> Iterator[list[str] | str]:
        csv.field_size_limit(LONGEST_FIELD)
        reader = csv.reader(self.lines, strict=True)
        while True:
            self.lines.taken.clear()
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                self._refuse_if_never_closed(error)
                self.lines.give_back_all_but_first()
                yield "breaks the quoting rules of RFC 4180"
            except (EOFError, OSError, zlib.error, UnicodeDecodeError) as error:
                raise LoadRefused(f"{self.path} {_unreadable(error)}, somewhere after row {self.row}.") from error
            else:
                yield fields or [""]

    def _refuse_if_never_closed(self, error: csv.Error) -> None:
        if "unexpected end" in str(error) or "larger than field limit" in str(error):
            raise LoadRefused(f"{self.path}: row {self.row + 1} opens a quote that is never closed.") from error


class _Lines:
    """The lines of a text, remembering those taken since `taken` was last cleared."""

    def __init__(self, text: Iterator[str]) -> None:
        self.text = text
        self.taken: list[str] = []
        self.returned: deque[str] = deque()

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self.returned.popleft() if self.returned else next(self.text)
        self.taken.append(line)
        return line

    def taken_text(self) -> str:
        return "".join(self.taken)

    def give_back_all_but_first(self) -> None:
        """After broken quotes only the line that opened them is lost; the others are read again as rows."""
        self.returned.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]


def _unreadable(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "is truncated: its gzip stream ends"
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8 (byte 0x{error.object[error.start]:02x})"
    return f"is corrupt or cannot be read ({error})"
