"""Binding models to the applied definitions: a model is served on the features it was trained on, or not at all."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from feast.errors import FeatureServiceNotFoundException

from plumbline.spec import is_windowed
from serving.champions import Champion
from serving.model_file import Model, load_model


class ContractMismatch(ValueError):
    """The applied definitions are not those the champion was trained on; the message says what to run."""


class Store(Protocol):
    """What binding needs of plumbline.FeatureStore."""

    def definition_hash(self, feature_service_name: str) -> str: ...
    def get_feature_service(self, name: str, allow_cache: bool = False) -> Any: ...
    def list_all_feature_views(self, allow_cache: bool = False) -> list[Any]: ...


class NothingTrained(ValueError):
    """No model has a champion, and no training report says why; the message says what to run."""


Models = dict[str, Model | str]
"""Model by name; where none could be trained, the reason instead."""


@dataclass(frozen=True)
class UserViews:
    """The views about a user alone, references `view:feature` to everything in them, and which of them are windowed."""

    names: frozenset[str]
    features: list[str]
    windowed: tuple[str, ...] = ()

    def know(self, found: Mapping[str, bool]) -> bool:
        """Whether the store holds any state of the user; found: view -> whether it holds some, as an Answer says."""
        return any(holds and view in self.names for view, holds in found.items())


def bind(store: Store, champions: Mapping[str, Champion | None], train_report: Path) -> Models:
    """Load each champion and check it against the applied definitions.

    Raises NothingTrained, ContractMismatch or ModelFileError: the service must not start.
    """
    if not any(champions.values()) and not train_report.exists():
        raise NothingTrained(f"No model has a champion and {train_report} does not exist; run `make train`.")
    return {
        name: missing_reason(name, train_report) if champion is None else bind_one(store, champion)
        for name, champion in champions.items()
    }


def user_views(store: Store, join_key: str = "user_id") -> UserViews:
    """The online views that are keyed by the user alone, in the order of their names."""
    views = [
        view
        for view in sorted(store.list_all_feature_views(), key=lambda view: view.name)
        if getattr(view, "join_keys", None) == [join_key] and view.online
    ]
    features = [f"{view.name}:{feature.name}" for view in views for feature in view.features if feature.name != join_key]
    windowed = tuple(view.name for view in views if is_windowed(view))
    return UserViews(frozenset(view.name for view in views), features, windowed)


def missing_reason(name: str, train_report: Path) -> str:
    """Why a model has no champion, from the training report where there is one."""
    if not train_report.exists():
        return f"model {name} has no champion, and there is no {train_report} that says why"
    report = json.loads(train_report.read_text(encoding="utf-8")).get("models", {}).get(name, {})
    reason = report.get("reason") or (report.get("gate") or {}).get("reason")
    return f"model {name} has no champion: {reason or 'the training report gives no reason'}"


def require_contract(store: Store, model: Model) -> Any:
    """The feature service of a model, as applied; raises ContractMismatch when it is not what the model was trained on."""
    label = f"Champion {model.name} version {model.version}"
    try:
        applied = store.definition_hash(model.feature_service)
        service = store.get_feature_service(model.feature_service)
    except FeatureServiceNotFoundException:
        raise ContractMismatch(f"{label} needs feature service {model.feature_service}; run `make apply`.") from None
    if applied != model.definition_hash:
        raise ContractMismatch(
            f"{label} was trained on definitions {model.definition_hash} of {model.feature_service}, but {applied} are "
            "applied. Run `make train` for a model of these definitions, or `make apply` with the old ones."
        )
    return service


def bind_one(store: Store, champion: Champion) -> Model:
    """Load a champion and check it against the applied definitions. Raises ContractMismatch or ModelFileError."""
    model = load_model(champion.folder, champion.version)
    label = f"Champion {champion.name} version {champion.version}"
    service = require_contract(store, model)
    references = [
        f"{projection.name_to_use()}:{feature.name}"
        for projection in service.feature_view_projections
        for feature in projection.features
    ]
    served = {reference.replace(":", "__", 1) for reference in references}
    absent = [feature for feature in model.features if feature not in served]
    if absent:
        raise ContractMismatch(f"{label} needs {', '.join(absent)}, not in {model.feature_service}; run `make train`.")
    aliased = any(projection.name_alias or projection.join_key_map for projection in service.feature_view_projections)
    return replace(model, reads=model.feature_service if aliased else references)
