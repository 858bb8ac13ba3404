"""A new champion without a restart: loaded beside the old one, checked on recorded requests, then put in its place."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from plumbline import StoreUnavailable
from serving.applied import Applied
from serving.binding import ContractMismatch, Models, bind_one, missing_reason
from serving.champions import MODEL_NAMES, Champion, ChampionError, fetched
from serving.logs import LOGGER, event
from serving.metrics import Metrics
from serving.model_file import Model, ModelFileError
from serving.recorded import Recorded
from serving.registry_watch import Signature, signature

EVERY_S = 5.0


class Unfit(ValueError):
    """A version cannot be served: other definitions are applied, its files cannot be read, or it does not answer recorded
    requests as it must; the message says which."""


class Refresh:
    """Looks at the registry every few seconds, and swaps models in the dict that everybody reads.

    A request sees the old model or the new one, never both. A champion that does not fit the applied definitions, cannot be
    read or fails its check is refused: the old one stays, `refused` says why by name.
    """

    def __init__(
        self, tracking_uri: str | None, models: Models, store: Any, reports: Path, folder: Path, metrics: Metrics
    ) -> None:
        self._tracking_uri, self._models, self._store, self._metrics = tracking_uri, models, store, metrics
        self._train_report, self._folder = reports / "train.json", folder
        self._seen: Signature | None = None
        self.refused: dict[str, str] = {}

    async def run(self, applied: Applied, recorded: Recorded) -> None:
        """Until cancelled."""
        if self._tracking_uri is not None:
            await asyncio.sleep(EVERY_S)
            await look_again_and_again(lambda: self.look(applied, recorded))

    def look(self, applied: Applied, recorded: Recorded) -> None:
        """Look once; blocks, for seconds when there is something new. Raises OSError, ValueError or ChampionError when the
        registry does not answer.
        """
        assert self._tracking_uri is not None  # without one nobody looks
        seen = signature(self._tracking_uri)
        if seen in (self._seen, self._served_versions()):
            return
        self.take(fetched(self._tracking_uri, self._folder), recorded)
        applied.forget()
        self._seen = seen

    def take(self, champions: Mapping[str, Champion | None], recorded: Recorded) -> None:
        """Put every champion that is another version than the one served, and passes its check, in its place."""
        for name, champion in champions.items():
            served = self._models.get(name)
            if champion is None:
                if isinstance(served, Model):
                    self._put(name, missing_reason(name, self._train_report))
            elif not isinstance(served, Model) or served.version != champion.version:
                self._try(name, champion, recorded)

    def _served_versions(self) -> Signature:
        """The signature of a server's registry that has the champions which are served."""
        served = (self._models.get(name) for name in MODEL_NAMES)
        return tuple(model.version if isinstance(model, Model) else None for model in served)

    def _try(self, name: str, champion: Champion, recorded: Recorded) -> None:
        try:
            model = fitting(self._store, champion, recorded)
        except Unfit as error:
            self.refused[name] = str(error)
            self._metrics.champion_refused.labels(name).set(1)
            LOGGER.warning("champion %s version %s is refused: %s", name, champion.version, error)
            return
        self._put(name, model)

    def _put(self, name: str, model: Model | str) -> None:
        before = self._models.get(name)
        self._models[name] = model
        self.refused.pop(name, None)
        self._metrics.champion_refused.labels(name).set(0)
        if isinstance(before, Model):
            self._metrics.model.remove(name, before.version)
        if isinstance(model, Model):
            self._metrics.model.labels(name, model.version).set(1)
        event("champion swapped", model=name, version=model.version if isinstance(model, Model) else None)


async def look_again_and_again(look: Callable[[], None]) -> None:
    """Call `look`, which asks the registry and blocks, every few seconds until cancelled; one that is away is asked again."""
    while True:
        try:
            await asyncio.to_thread(look)
        except (OSError, ValueError, ChampionError, StoreUnavailable) as error:
            LOGGER.warning("the registry was not looked at: %s", error)
        await asyncio.sleep(EVERY_S)


def fitting(store: Any, version: Champion, recorded: Recorded) -> Model:
    """Load a version beside what is served, and answer recorded requests with it. Raises Unfit, and StoreUnavailable."""
    try:
        model = bind_one(store, version)
    except (ContractMismatch, ModelFileError) as error:
        raise Unfit(str(error)) from error
    _check(model, store.read_online, recorded)
    return model


def _check(model: Model, read: Callable[..., Any], recorded: Recorded) -> None:
    rows = recorded.entity_rows(model.name)
    try:
        answers = read(model.reads, rows)
        matrix = model.rows([answer.features for answer in answers])
        scores, contributions = np.array(model.scores(matrix)), model.contributions(matrix)
    except (KeyError, TypeError, ValueError) as error:
        raise Unfit(f"recorded requests cannot be scored: {error!r}") from error
    if not (np.isfinite(scores).all() and (scores >= 0).all() and (scores <= 1).all() and np.isfinite(contributions).all()):
        raise Unfit(f"of {len(rows)} recorded requests some scores are not between 0 and 1, or not explained by numbers")
