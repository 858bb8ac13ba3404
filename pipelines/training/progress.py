"""Lines that say what a long command is doing and how long it took so far."""

import time


class Progress:
    """Prints `<seconds since the start> <text>`, one line a step, at once."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self._start:7.1f} s  {text}\n", end="", flush=True)  # one write: threads print too
