"""A challenger in the shadow: it scores what the champion scores, nobody hears it, and the decision log keeps what it said."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serving.champions import Champion, fetched
from serving.logs import LOGGER, event
from serving.metrics import Metrics
from serving.model_file import Model
from serving.recorded import Recorded
from serving.refresh import Unfit, fitting, look_again_and_again
from serving.registry_watch import Signature, signature


class Shadow:
    """The versions under SHADOW_ALIAS by model name, looked for every few seconds. A challenger costs no request its answer:
    one that cannot score is left out, and said so in the log.

    tracking_uri, alias  None or empty: there are no challengers
    """

    def __init__(self, tracking_uri: str | None, alias: str, store: Any, folder: Path, metrics: Metrics) -> None:
        self._tracking_uri, self._alias, self._store = tracking_uri, alias, store
        self._folder, self._metrics = folder, metrics
        self._seen: Signature | None = None
        self._challengers: dict[str, Model] = {}

    async def run(self, recorded: Recorded) -> None:
        """Until cancelled."""
        if (uri := self._tracking_uri) is not None and self._alias:
            await look_again_and_again(lambda: self.look(uri, recorded))

    def look(self, tracking_uri: str, recorded: Recorded) -> None:
        """Look once; blocks. Raises OSError, ValueError or ChampionError when the registry does not answer."""
        seen = signature(tracking_uri, alias=self._alias)
        if seen == self._seen:
            return
        self.take(fetched(tracking_uri, self._folder, self._alias), recorded)
        self._seen = seen

    def take(self, found: Mapping[str, Champion | None], recorded: Recorded) -> None:
        """Use these challengers from now on; one that does not fit the applied definitions or fails its check is left out."""
        for name, challenger in found.items():
            before = self._challengers.get(name)
            if challenger is not None and before is not None and before.version == challenger.version:
                continue
            self._challengers.pop(name, None)
            if challenger is not None:
                self._try(name, challenger, recorded)

    def beside(self, champion: Model, answers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any] | None]:
        """What the challenger says of each answer's features: version, score and decision; None where there is none.

        A challenger of another feature service would need another read, and is not asked.
        """
        challenger = self._challengers.get(champion.name)
        silent: list[dict[str, Any] | None] = [None] * len(answers)
        if challenger is None or challenger.version == champion.version:
            return silent
        if challenger.feature_service != champion.feature_service:
            return silent
        try:
            scores = challenger.scores(challenger.rows(answers))
        except (KeyError, TypeError, ValueError) as error:
            self._challengers.pop(champion.name, None)
            LOGGER.warning("challenger %s version %s is left out: %r", champion.name, challenger.version, error)
            return silent
        return [{"version": challenger.version, "score": score, "decision": challenger.decision(score)} for score in scores]

    def _try(self, name: str, challenger: Champion, recorded: Recorded) -> None:
        try:
            model = fitting(self._store, challenger, recorded)
        except Unfit as error:
            LOGGER.warning("challenger %s version %s is left out: %s", name, challenger.version, error)
            return
        self._challengers[name] = model
        event("challenger scores in the shadow", model=name, version=model.version)
