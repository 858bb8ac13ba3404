"""What a log's `_commits` folder says: how far each partition is complete, and which history the log holds."""

import json

from pyarrow import fs

from plumbline.log_files import filesystem_of

_COMMITS = "_commits"


def end_offsets(path: str) -> dict[int, int] | None:
    """Last offset of each partition by the newest complete manifest `batch-*.json`; None where there is none.

    A half-written manifest was never committed.
    """
    filesystem, root = filesystem_of(path)
    folder = filesystem.get_file_info(fs.FileSelector(f"{root}/{_COMMITS}", allow_not_found=True))
    names = [info.base_name for info in folder if info.base_name.startswith("batch-") and info.extension == "json"]
    for name in sorted(names, reverse=True):
        try:
            ends = json.loads(_text(path, name) or "")["end_offsets"]
        except json.JSONDecodeError:
            continue
        return {int(partition): int(end) for partition, end in ends.items()}
    return None


def generation(path: str) -> int:
    """How often the history was replaced, from `history.json`; 0 where there is no such file."""
    text = _text(path, "history.json")
    return 0 if text is None else int(json.loads(text)["generation"])


def _text(path: str, name: str) -> str | None:
    filesystem, root = filesystem_of(path)
    file = f"{root}/{_COMMITS}/{name}"
    if filesystem.get_file_info(file).type != fs.FileType.File:
        return None
    with filesystem.open_input_stream(file) as stream:
        return stream.read().decode()
