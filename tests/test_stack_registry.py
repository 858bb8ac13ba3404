"""A process that runs for long reads the feature registry again when it was applied again, and at no other time."""

from datetime import UTC, datetime

from feast import Entity, ValueType

from feature_repo import open_store
from feature_repo.settings import Settings


def test_the_registry_is_not_read_again_however_old_it_is(tmp_path):
    store = open_store(Settings.from_env({"DATA_DIR": str(tmp_path)}))
    read_at_start = store.registry.cached_registry_proto

    store.registry.cached_registry_proto_created = datetime(2001, 9, 9, tzinfo=UTC)

    assert store.list_entities(allow_cache=True) == []
    assert store.registry.cached_registry_proto is read_at_start


def test_an_apply_of_another_process_is_seen_by_the_next_read(tmp_path):
    settings = Settings.from_env({"DATA_DIR": str(tmp_path)})
    serving, applying = open_store(settings), open_store(settings)
    assert serving.list_entities(allow_cache=True) == []

    applying.apply([Entity(name="branch", join_keys=["branch_id"], value_type=ValueType.STRING)])

    assert [entity.name for entity in serving.list_entities(allow_cache=True)] == ["branch"]
