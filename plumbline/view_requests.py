"""What a call for historical features asks of each view, compiled from Feast's objects."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from feast.feature_view import FeatureView
from feast.utils import _parse_feature_ref

from plumbline.arrow_types import arrow_type
from plumbline.durations import microseconds
from plumbline.spec import is_windowed, join_keys_of, log_source, view_spec
from plumbline.view_evaluation import RowRequest, ViewRequest, WindowedRequest
from plumbline.view_spec import DeclarationError


def view_requests(
    views: Sequence[FeatureView], references: Sequence[str], full_feature_names: bool, repo_path: Path | str | None
) -> list[ViewRequest]:
    """One request a view, in the order of views; features in the order of references ("view:feature").

    References to on-demand views are passed over. Raises DeclarationError for a view that makes no sense, and
    ValueError when two features would have one name.
    """
    requests = [
        _view_request(view, names, full_feature_names, repo_path) for view in views if (names := _features(view, references))
    ]
    outputs = [name for request in requests for name in request.outputs]
    twice = sorted({name for name in outputs if outputs.count(name) > 1})
    if twice:
        raise ValueError(f"Several views have features named {', '.join(twice)}; ask for full_feature_names=True.")
    return requests


def without_join_keys(views: Sequence[FeatureView], references: Sequence[str]) -> list[str]:
    """The references, on-demand views' included, that a result has columns for.

    Feast lists the join keys of a registered StreamFeatureView among its features; references to them are passed over.
    """
    keys = {(view.projection.name_to_use(), field.name) for view in views for field in view.entity_columns}
    return [reference for reference in references if _named(reference) not in keys]


def _named(reference: str) -> tuple[str, str]:
    name, version, feature = _parse_feature_ref(reference)
    return name if version is None else f"{name}@v{version}", feature


def _view_request(view: FeatureView, names: list[str], full: bool, repo_path: Path | str | None) -> ViewRequest:
    keys = join_keys_of(view)
    row_keys = tuple(view.projection.join_key_map.get(key, key) for key in keys)
    prefix = view.projection.name_alias or view.name
    outputs = tuple(f"{prefix}__{name}" if full else name for name in names)
    if is_windowed(view):
        spec = view_spec(view, repo_path)
        windows = {window.name: window for window in spec.windows}
        _check_known(view, names, windows)
        return WindowedRequest(replace(spec, windows=tuple(windows[name] for name in names)), row_keys, outputs)
    declared = {field.name: arrow_type(field.dtype) for field in view.features}
    _check_known(view, names, declared)
    ttl_us = microseconds(view.ttl) if view.ttl else 0
    types = tuple(declared[name] for name in names)
    return RowRequest(view.name, log_source(view, repo_path), tuple(keys), row_keys, tuple(names), outputs, types, ttl_us)


def _check_known(view: FeatureView, names: list[str], known: Mapping[str, object]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DeclarationError(f"View '{view.name}' has no feature {', '.join(unknown)}; it has {', '.join(known)}.")


def _features(view: FeatureView, references: Sequence[str]) -> list[str]:
    """The features of a view that are asked for, each once."""
    wanted = map(_named, without_join_keys([view], references))
    return list(dict.fromkeys(feature for name, feature in wanted if name == view.projection.name_to_use()))
