"""Run a command so that its failure is one clear line: a traceback goes to a log, the rest to the terminal."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

TRACEBACK = b"Traceback (most recent call last)"


def run(name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> int:
    """Run `command` in the foreground; returns its exit code.

    What it writes to stderr is shown as it comes, progress bars included, and kept in `log`. From a traceback on, only
    the last line is shown, after the words "make <name>:".
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    assert process.stderr is not None  # it was asked for above
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    reader = threading.Thread(target=_show_until_traceback, args=(process.stderr, log))
    reader.start()
    code = _wait(process)
    reader.join()
    if code != 0 and TRACEBACK in log.read_bytes():
        print(f"make {name}: {last_words(log)} (the whole story: {log})", file=sys.stderr)
    return code


def last_words(log: Path) -> str:
    """The line of the last exception in a log: the last one that is not indented."""
    lines = log.read_text(errors="replace").splitlines()
    return next((line for line in reversed(lines) if line and not line[0].isspace()), "no reason was given")


def _show_until_traceback(stream: IO[bytes], log: Path) -> None:
    hidden = False
    with log.open("wb") as kept:
        while chunk := os.read(stream.fileno(), 65_536):
            kept.write(chunk)
            if not hidden:
                before, found, _ = chunk.partition(TRACEBACK)
                sys.stderr.buffer.write(before)
                sys.stderr.flush()
                hidden = bool(found)


def _wait(process: subprocess.Popen[bytes]) -> int:
    """The exit code; Ctrl-C reaches the command too, which then ends by itself."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue
