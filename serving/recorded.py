"""The latest requests of each model, kept in memory: what a new model must be able to answer before it is served."""

from collections import defaultdict, deque
from typing import Any

from serving.champions import ACCOUNT_MODEL
from serving.messages import ScoreRequest, Transaction

KEPT = 64
PROBE_USER = "readiness-probe"
PROBES = (ScoreRequest(user_id=PROBE_USER), ScoreRequest(user_id=PROBE_USER, transaction=Transaction()))
"""A request of each kind about a user that nobody is."""


class Recorded:
    """Entity rows by model, newest last. Appending and reading from several threads is safe."""

    def __init__(self) -> None:
        self._rows: defaultdict[str, deque[dict[str, Any]]] = defaultdict(lambda: deque(maxlen=KEPT))

    def keep(self, model_name: str, entity_row: dict[str, Any]) -> None:
        self._rows[model_name].append(entity_row)

    def entity_rows(self, model_name: str) -> list[dict[str, Any]]:
        """What was asked of a model lately; the probe's row where nothing was."""
        from serving.scoring import entity_row, now_utc

        probe = PROBES[0] if model_name == ACCOUNT_MODEL else PROBES[1]
        return list(self._rows[model_name]) or [entity_row(probe, now_utc())]
