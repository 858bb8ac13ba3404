"""A user's own recent events, as the windowed views still hold them raw."""

from collections.abc import Sequence
from typing import Any

from plumbline import FeatureStore
from serving.instants import format_instant


def timeline(store: FeatureStore, views: Sequence[str], user_id: str) -> dict[str, Any]:
    """The body of /v1/users/{user_id}/events: a view's events by time, and since when none of them is missing. Blocks."""
    heads = store.heads(views, {"user_id": user_id})
    return {
        "user_id": user_id,
        "known": any(head.since is not None for head in heads.values()),
        "views": {
            view: {
                "since": head.since and format_instant(head.since),
                "events": [{"event_timestamp": format_instant(event.at), "columns": event.columns} for event in head.events],
            }
            for view, head in heads.items()
        },
    }
