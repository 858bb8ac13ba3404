"""A bounded file of lines, first in first out: what could not be sent yet survives a restart."""

from collections.abc import Sequence
from pathlib import Path

LARGEST_BYTES = 256 * 1024 * 1024


class Spool:
    """One writer and reader, the same thread. Lines hold no newline. The folder is made by the first append."""

    def __init__(self, path: Path, largest_bytes: int = LARGEST_BYTES) -> None:
        self._path, self._largest_bytes, self._sent_bytes = path, largest_bytes, 0
        _cut_torn_line(path)

    @property
    def waiting_bytes(self) -> int:
        return (self._path.stat().st_size if self._path.exists() else 0) - self._sent_bytes

    def append(self, lines: Sequence[bytes]) -> int:
        """Keep lines; returns how many fitted below the bound (the rest is the caller's to count)."""
        kept, room = 0, self._largest_bytes - self.waiting_bytes
        if not lines:
            return 0
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            for line in lines:
                room -= len(line) + 1
                if room < 0:
                    break
                file.write(line + b"\n")
                kept += 1
        return kept

    def first(self, most: int) -> list[bytes]:
        """The oldest lines, at most `most`; they stay until dropped."""
        if self.waiting_bytes == 0:
            return []
        with self._path.open("rb") as file:
            file.seek(self._sent_bytes)
            return [line.rstrip(b"\n") for line, _ in zip(file, range(most), strict=False)]

    def drop(self, lines: Sequence[bytes]) -> None:
        """Forget the oldest lines, as `first` gave them; the file goes when it is used up."""
        self._sent_bytes += sum(len(line) + 1 for line in lines)
        if self.waiting_bytes == 0:
            self._path.unlink()
            self._sent_bytes = 0


def _cut_torn_line(path: Path) -> None:
    """A crash in the middle of a write leaves a line without its end: it is cut off."""
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with path.open("r+b") as file:
            file.truncate(whole)
