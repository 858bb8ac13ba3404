"""The definitions as they are applied now, looked at again each time `make apply` has written the registry."""

import os
import threading

from plumbline import FeatureStore
from serving.binding import ContractMismatch, Models, UserViews, require_contract, user_views
from serving.model_file import Model
from serving.problems import unavailable

NEVER_LOOKED = -1


class Applied:
    """A user's own views, and whether each model still reads what it was trained on. Thread-safe; blocks for a file's stat,
    and for some milliseconds when definitions were applied since the last question.
    """

    def __init__(self, store: FeatureStore, models: Models) -> None:
        self._store, self._models = store, models
        self._registry = str(store.config.registry.path)
        self._lock = threading.Lock()
        self._written_at: int | None = NEVER_LOOKED
        self._user_views = UserViews(frozenset(), [])
        self._broken: dict[str, str] = {}

    @property
    def user_views(self) -> UserViews:
        """The online views that are keyed by the user alone."""
        self._look()
        return self._user_views

    def require(self, model: Model) -> None:
        """Raise the 503 Problem when other definitions are applied than the model was trained on: its features would
        be something else by the same names.
        """
        self._look()
        if model.name in self._broken:
            remedy = "Run `make train`, then `make serve`; or `make apply` with the definitions of before."
            raise unavailable("contract", self._broken[model.name], f"model {model.name}", remedy)

    def require_all(self) -> None:
        """Raise the 503 Problem of the first model that is not served on the applied definitions."""
        for model in self._models.values():
            if isinstance(model, Model):
                self.require(model)

    def forget(self) -> None:
        """Look again at the next question: a model was put in another's place."""
        self._written_at = NEVER_LOOKED

    def _look(self) -> None:
        with self._lock:
            written_at = self._stamp()
            if written_at == self._written_at:
                return
            self._user_views = user_views(self._store)
            self._broken = {name: broken for name, model in self._models.items() if (broken := self._broken_by(model))}
            self._written_at = written_at

    def _stamp(self) -> int | None:
        try:
            return os.stat(self._registry).st_mtime_ns
        except FileNotFoundError:
            return None

    def _broken_by(self, model: Model | str) -> str:
        """How the applied definitions break a model's contract; empty when they do not, or there is no model."""
        try:
            if isinstance(model, Model):
                require_contract(self._store, model)
        except ContractMismatch as mismatch:
            return str(mismatch)
        return ""
