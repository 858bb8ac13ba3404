"""Whether the service can answer: the store, the models, and that both agree on the features."""

import asyncio
import gc
import sys
import time
from collections.abc import Mapping
from typing import Any

from plumbline import StoreUnavailable
from serving.applied import Applied
from serving.binding import Models
from serving.logs import LOGGER, event
from serving.messages import ScoreRequest
from serving.model_file import Model
from serving.problems import unavailable
from serving.reading import Reading
from serving.recorded import PROBE_USER, PROBES
from serving.scoring import entity_row, now_utc
from serving.timeline import timeline

SWITCH_S = 0.0005
"""How long a thread that scores keeps the interpreter from the event loop, or the other way round: Python's own 5 ms are as
long as the answer may take."""

PROBE_LASTS_S = 0.2
RETRY_S = 0.5


class Readiness:
    """Warms up the read path once, then answers probes with a real read, at most five a second.

    refused  why a newer champion is not served, by model; the old one serves, so this is no failure
    """

    def __init__(self, store: Any, applied: Applied, models: Models, reading: Reading, refused: Mapping[str, str]) -> None:
        self._store, self._applied, self._models, self._reading = store, applied, models, reading
        self._refused = refused
        self._warm, self._failure, self._last_probe = False, "", -PROBE_LASTS_S

    async def warm_up(self) -> None:
        """Read every service and a timeline once, so that nothing compiles or connects during a request, and set the
        interpreter up for short answers; waits for the store."""
        started = time.perf_counter()
        while not self._warm:
            try:
                await self._reading.unbounded(self._read_everything)
                self._warm = True
            except Exception as error:  # noqa: BLE001  whatever it is: not ready, says why, tries again
                self._tell(error)
                await asyncio.sleep(RETRY_S)
        sys.setswitchinterval(SWITCH_S)
        gc.collect()
        gc.freeze()  # what was imported and loaded stays: each search of it for garbage would hold all requests for 0.2 s
        event("warmed up", seconds=round(time.perf_counter() - started, 2))

    async def check(self) -> dict[str, Any]:
        """What is ready, for /readyz. Raises the 503 Problem that says what is not."""
        if not self._warm:
            what = self._failure or "The service is warming up"
            raise unavailable("warming-up", what, "online store (REDIS_CONNECTION_STRING)", "Wait; else `make status`.")
        await self._reading.run(self._applied.require_all)
        if time.monotonic() - self._last_probe > PROBE_LASTS_S:
            await self._reading.run(self._read_user)
            self._last_probe = time.monotonic()
        return {"status": "ready", "store": "ok", "contract": "ok", "models": self._served(), "refused": dict(self._refused)}

    def _tell(self, error: Exception) -> None:
        failure = "The online store is not reachable" if isinstance(error, StoreUnavailable) else f"The first read: {error}"
        if failure != self._failure:
            LOGGER.warning("not ready", exc_info=error)
        self._failure = failure

    def _served(self) -> dict[str, Any]:
        return {
            name: {"version": model.version, "definition_hash": model.definition_hash}
            if isinstance(model, Model)
            else {"absent": model}
            for name, model in self._models.items()
        }

    def _read_everything(self) -> None:
        self._read_user()
        timeline(self._store, self._applied.user_views.windowed, PROBE_USER)
        for request in PROBES:
            model = self._models.get(request.model_name)
            if isinstance(model, Model):
                self._read_for(model, request)

    def _read_for(self, model: Model, request: ScoreRequest) -> None:
        answer = self._store.read_online(model.reads, [entity_row(request, now_utc())])[0]
        model.contributions(model.rows([answer.features]))

    def _read_user(self) -> None:
        self._store.read_online(self._applied.user_views.features, [{"user_id": PROBE_USER}])
