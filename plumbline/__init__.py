"""Windowed features for Feast: declared once, the same value in training, in the stream and in the answer."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plumbline.answer import Answer
    from plumbline.declare import aggregate, windowed_view
    from plumbline.feature_store import FeatureStore
    from plumbline.fold import Fold, PositionsLost
    from plumbline.instant import AsOfTooOld, as_of
    from plumbline.state_words import StateUnreadable
    from plumbline.store_client import StoreUnavailable
    from plumbline.view_spec import DeclarationError

_HOME = {
    "Answer": "answer",
    "AsOfTooOld": "instant",
    "DeclarationError": "view_spec",
    "FeatureStore": "feature_store",
    "Fold": "fold",
    "PositionsLost": "fold",
    "StateUnreadable": "state_words",
    "StoreUnavailable": "store_client",
    "aggregate": "declare",
    "as_of": "instant",
    "windowed_view": "declare",
}

__all__ = [
    "Answer",
    "AsOfTooOld",
    "DeclarationError",
    "FeatureStore",
    "Fold",
    "PositionsLost",
    "StateUnreadable",
    "StoreUnavailable",
    "aggregate",
    "as_of",
    "windowed_view",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used: Feast takes seconds to import, durations and errors do not need it."""
    if name not in _HOME:
        raise AttributeError(f"module 'plumbline' has no attribute '{name}'")
    return getattr(import_module(f"plumbline.{_HOME[name]}"), name)
