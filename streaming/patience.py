"""What is away is waited for: retries with growing pauses that a stop ends."""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0

log = logging.getLogger(__name__)

T = TypeVar("T")


class Stopped(Exception):
    """The process is to end while something was being waited for."""


class Patience:
    """Tries again until it works or the process is to stop."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def pause(self, seconds: float) -> None:
        """Wait, at most until the stop."""
        self._stop.wait(seconds)

    def keep_trying(
        self,
        call: Callable[[], T],
        away: type[Exception] | tuple[type[Exception], ...],
        what: str,
        on_failure: Callable[[], None] = lambda: None,
    ) -> T:
        """The result of `call`, repeated for as long as it raises `away`; raises Stopped when the stop comes first.

        The first failure and every longest pause are logged in the error's own words, and that it works again.
        """
        pause_s = 0.0
        while not self._stop.is_set():
            try:
                result = call()
            except away as error:
                on_failure()
                if pause_s in (0.0, LONGEST_PAUSE_S):
                    log.warning("%s: %s (trying again)", what, str(error) or type(error).__name__)
                pause_s = min(max(pause_s * 2, FIRST_PAUSE_S), LONGEST_PAUSE_S)
                self._stop.wait(pause_s)
            else:
                if pause_s:
                    log.info("%s: works again", what)
                return result
        raise Stopped
