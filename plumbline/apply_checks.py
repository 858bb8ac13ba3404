"""What `feast apply` refuses before anything is registered."""

from collections.abc import Sequence

import feast
from feast import Entity, FeatureView, RepoConfig
from feast.base_feature_view import BaseFeatureView
from feast.feature_view import DUMMY_ENTITY_NAME
from feast.on_demand_feature_view import OnDemandFeatureView

from plumbline.spec import is_windowed, log_source, view_spec
from plumbline.view_spec import DeclarationError


def refuse_nonsense(
    views: Sequence[BaseFeatureView | OnDemandFeatureView], config: RepoConfig, entities: Sequence[Entity]
) -> None:
    """Compile every windowed view; raises DeclarationError for the first that makes no sense.

    Its entities must be among those applied with it or registered before, and two views over one log must agree on its
    allowed_lateness.
    """
    windowed = [view for view in views if is_windowed(view)]
    _refuse_unknown_entities(windowed, config, entities)
    lateness: dict[str, tuple[str, int]] = {}
    for view in windowed:
        view_spec(view, config.repo_path)
        source = log_source(view, config.repo_path)
        other, other_us = lateness.setdefault(source.path, (view.name, source.allowed_lateness_us))
        if other_us != source.allowed_lateness_us:
            raise DeclarationError(
                f"Views '{other}' and '{view.name}' read the log {source.path} with different allowed_lateness; a log has one."
            )


def _refuse_unknown_entities(views: Sequence[FeatureView], config: RepoConfig, entities: Sequence[Entity]) -> None:
    applied = {entity.name for entity in entities}
    unknown = {name: view.name for view in views for name in view.entities if name not in applied | {DUMMY_ENTITY_NAME}}
    if not unknown:
        return
    registered = {entity.name for entity in feast.FeatureStore(repo_path=str(config.repo_path), config=config).list_entities()}
    for name, view in sorted(unknown.items()):
        if name not in registered:
            raise DeclarationError(
                f"View '{view}': entity '{name}' is not known; apply it together with the view "
                f"(registered are: {', '.join(sorted(registered | applied)) or 'none'})."
            )
