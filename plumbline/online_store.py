"""Feast's online store, with windows: values are computed from states at the instant of the read, so they decay."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

from feast import Entity, FeatureService, FeatureView, RepoConfig, utils
from feast.infra.infra_object import InfraObject
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.registry.base_registry import BaseRegistry
from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.online_response import OnlineResponse
from feast.protos.feast.core.Registry_pb2 import Registry as RegistryProto
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.protos.feast.types.EntityKey_pb2 import EntityKey as EntityKeyProto
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.repo_config import FeastConfigBaseModel

from plumbline import versions
from plumbline.apply_checks import refuse_nonsense
from plumbline.declared_log import declared_log
from plumbline.feature_vectors import feature_columns, respond, warn_of_overflows
from plumbline.instant import from_microseconds, read_instant_us, to_microseconds
from plumbline.keyspace import Keyspace
from plumbline.layout import Layout
from plumbline.on_demand import with_full_names
from plumbline.online_reading import EntityAnswer, OnlineReader, VersionedRead, WindowedRead
from plumbline.requested_entities import columnar, entities_of, entity_of_key
from plumbline.spec import is_windowed, view_spec
from plumbline.state_words import StateUnreadable
from plumbline.store_client import SWAP, StoreAddress, StoreClient

log = logging.getLogger(__name__)

ATTEMPTS = 20

answers_of_this_read: ContextVar[dict[str, list[EntityAnswer]] | None] = ContextVar("plumbline_answers", default=None)
"""Where a reader that wants more than Feast's response (positions) puts a dict: view name -> one answer a row."""


class WindowedOnlineStoreConfig(FeastConfigBaseModel):
    """`online_store:` of feature_store.yaml.

    connection_string  host:port[,option=value...] as Feast takes it, for example "localhost:6379,db=1"
    redis_type         redis or redis_cluster
    shards             constant number of shards; changing it is a new keyspace: materialize again
    read_timeout_ms, write_timeout_ms  how long one round trip may take before the store counts as away
    """

    type: Literal["plumbline.online_store.WindowedOnlineStore"] = "plumbline.online_store.WindowedOnlineStore"
    connection_string: str = "localhost:6379"
    redis_type: Literal["redis", "redis_cluster"] = "redis"
    shards: int = 16
    read_timeout_ms: int = 800
    write_timeout_ms: int = 10_000


class WindowedOnlineStore(OnlineStore):
    """Redis or Valkey behind Feast's online store interface: states of windowed views, rows of slowly changing ones."""

    def __init__(self) -> None:
        self._clients: dict[int, StoreClient] = {}
        self._layouts: dict[object, Layout] = {}

    @property
    def async_supported(self) -> SupportedAsyncMethods:
        """Reads and writes both have coroutines; each is its plain call on a thread."""
        return SupportedAsyncMethods(read=True, write=True)

    def reader(self, config: RepoConfig) -> OnlineReader:
        """What answers reads, with the short time-out."""
        return OnlineReader(self._client(config, config.online_store.read_timeout_ms), self.keyspace(config))

    def writer(self, config: RepoConfig) -> StoreClient:
        """The connection for writes, with the long time-out."""
        return self._client(config, config.online_store.write_timeout_ms)

    def keyspace(self, config: RepoConfig) -> Keyspace:
        """Where this project's keys are."""
        return Keyspace(config.project, config.online_store.shards)

    def layout(self, config: RepoConfig, view: FeatureView) -> Layout:
        """The layout of a windowed view's states, compiled once for each declaration."""
        aggregations = tuple((a.name, a.column, a.function, a.time_window, a.slide_interval) for a in view.aggregations)
        declaration = (view.name, aggregations, tuple(view.join_keys), declared_log(view))
        if declaration not in self._layouts:
            self._layouts[declaration] = Layout(view_spec(view, config.repo_path))
        return self._layouts[declaration]

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Part of `feast apply`: refuses declarations that make no sense, removes what deleted views left in the store."""
        refuse_nonsense(tables_to_keep, config, entities_to_keep)
        self._forget(config, [view.name for view in tables_to_delete])

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Remove everything of this project from the store."""
        client = self.writer(config)
        client.delete(list(client.scan(f"{self.keyspace(config).every_tag}:*")))

    def plan(self, config: RepoConfig, desired_registry_proto: RegistryProto) -> list[InfraObject]:
        """Nothing: the store's keys come and go with the data."""
        return []

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[tuple[EntityKeyProto, dict[str, ValueProto], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Add rows of a slowly changing view; naive timestamps are UTC, a missing created timestamp is the event's.

        Raises ValueError for a windowed view, whose values are not written but computed: push its raw events.
        """
        if is_windowed(table):
            raise ValueError(
                f"View '{table.name}' is windowed: push raw events with plumbline.FeatureStore.push, or materialize its log."
            )
        rows: dict[bytes, list[versions.Version]] = {}
        for entity_key, features, event_at, created_at in data:
            entity = entity_of_key(entity_key)
            if entity is not None:
                event_us = _utc_us(event_at)
                created_us = event_us if created_at is None else _utc_us(created_at)
                serialized = {name: value.SerializeToString() for name, value in features.items()}
                rows.setdefault(entity, []).append(versions.Version(event_us, created_us, serialized))
            if progress:
                progress(1)
        self.write_versions(config, table.name, rows)

    async def online_write_batch_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[tuple[EntityKeyProto, dict[str, ValueProto], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """online_write_batch on a thread."""
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def write_versions(
        self, config: RepoConfig, view: str, rows: Mapping[bytes, Sequence[versions.Version]], *, repair: bool = False
    ) -> None:
        """Add rows to entities of a slowly changing view, by compare-and-set; safe beside other writers.

        repair: these are all rows there are, so they take the place of damaged ones; else raises StateUnreadable for such.
        """
        client, keyspace = self.writer(config), self.keyspace(config)
        pending = list(rows)
        for _ in range(ATTEMPTS):
            keys = [keyspace.versions(view, entity) for entity in pending]
            calls = []
            for entity, key, data in zip(pending, keys, client.pipeline(("GET", key) for key in keys), strict=True):
                kept = _kept(data, repair)
                stamp = b"" if data is None else data[: versions.STAMP_BYTES]
                calls.append(([key], [stamp, versions.encode(kept.with_rows(rows[entity], _now_us()))]))
            outcomes = client.scripts(SWAP, calls)
            pending = [entity for entity, outcome in zip(pending, outcomes, strict=True) if outcome != b"ok"]
            if not pending:
                return
        raise RuntimeError(f"Rows of view '{view}' kept changing under the write; try again.")

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKeyProto],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, ValueProto] | None]]:
        """Values at the read's instant, an entity each; (None, None) where the store holds no state."""
        at_us = read_instant_us()
        wanted = requested_features or [field.name for field in table.features]
        read = self.read_request(config, table, [entity_of_key(key) for key in entity_keys])
        answers = self.reader(config).read([read], at_us)[0]
        for answer in answers:
            warn_of_overflows(answer)
        columns = feature_columns(table, wanted, read, answers)
        return [
            (from_microseconds(at_us), {name: column[i] for name, column in zip(wanted, columns, strict=True)})
            if answer.found
            else (None, None)
            for i, answer in enumerate(answers)
        ]

    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKeyProto],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, ValueProto] | None]]:
        """online_read on a thread, at the caller's instant."""
        return await asyncio.to_thread(self.online_read, config, table, entity_keys, requested_features)

    def _read_features_per_fv(
        self,
        config: RepoConfig,
        grouped_refs: list[tuple[FeatureView, list[str]]],
        join_key_values: dict[str, list[ValueProto]],
        entity_name_to_join_key_map: dict[str, str],
        online_features_response: GetOnlineFeaturesResponse,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool = False,
    ) -> None:
        """All views of a request in one round trip; a null join key reads as the empty history."""
        at_us = read_instant_us()
        reads, rows = [], max(map(len, join_key_values.values()), default=0)
        for view, _ in grouped_refs:
            values = utils._get_table_entity_values(view, entity_name_to_join_key_map, join_key_values)
            reads.append(self.read_request(config, view, entities_of(view, values, rows)))
        answers = self.reader(config).read(reads, at_us)
        collected = answers_of_this_read.get()
        for (view, names), read, of_view in zip(grouped_refs, reads, answers, strict=True):
            if collected is not None:
                collected[view.projection.name_to_use()] = of_view
            # Feast 0.67 lists a registered stream view's join keys among its features; they are in every answer anyway
            join_keys = view.join_keys
            asked = [name for name in names if name not in join_keys]
            respond(online_features_response, view, asked, read, of_view, at_us, full_feature_names)

    async def _read_features_per_fv_async(self, *args: Any, **kwargs: Any) -> None:
        await asyncio.to_thread(self._read_features_per_fv, *args, **kwargs)

    def get_online_features(
        self,
        config: RepoConfig,
        features: list[str] | FeatureService,
        entity_rows: list[dict[str, Any]] | Mapping[str, Any],
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        include_feature_view_version_metadata: bool = False,
    ) -> OnlineResponse:
        """Feast's own steps, with on-demand views of mode python answering under full names too.

        Feast 0.67 looks for `<view>__<name>` among what such a view returns, which are bare names, and drops them all.
        """
        if not entity_rows:
            raise ValueError("There are no entity rows to read; give at least one.")
        prepared = utils._prepare_entities_to_read_from_online_store(
            registry=registry,
            project=project,
            features=features,
            entity_values=columnar(entity_rows),
            full_feature_names=full_feature_names,
            native_entity_values=True,
        )
        join_key_values, grouped_refs, join_keys, on_demand, feature_refs, wanted, response = prepared
        self._check_versioned_read_support(grouped_refs)
        self._read_features_per_fv(
            config, grouped_refs, join_key_values, join_keys, response, full_feature_names,
            include_feature_view_version_metadata,
        )  # fmt: skip
        feature_types = self._build_feature_types([(view, set(names)) for view, names in grouped_refs])
        if on_demand:
            if full_feature_names:
                on_demand = [with_full_names(view) if view.mode == "python" else view for view in on_demand]
            utils._augment_response_with_on_demand_transforms(
                response, feature_refs, on_demand, full_feature_names, feature_types=feature_types
            )
        utils._drop_unneeded_columns(response, wanted)
        return OnlineResponse(response, feature_types=feature_types)

    async def get_online_features_async(self, *args: Any, **kwargs: Any) -> OnlineResponse:
        """get_online_features on a thread, at the caller's instant."""
        return await asyncio.to_thread(self.get_online_features, *args, **kwargs)

    def read_request(
        self, config: RepoConfig, view: FeatureView, entities: Sequence[bytes | None]
    ) -> WindowedRead | VersionedRead:
        """What the reader is asked about a view; an entity is None where a join key is null."""
        if is_windowed(view):
            return WindowedRead(self.layout(config, view), entities)
        ttl_us = 0 if view.ttl is None else int(view.ttl.total_seconds() * 1_000_000)
        return VersionedRead(view.name, ttl_us, entities)

    def _forget(self, config: RepoConfig, views: Sequence[str]) -> None:
        if not views:
            return
        client = self.writer(config)
        for view in views:
            for pattern in self.keyspace(config).patterns_of_view(view):
                client.delete(list(client.scan(pattern)))

    def _client(self, config: RepoConfig, timeout_ms: int) -> StoreClient:
        if timeout_ms not in self._clients:
            online = config.online_store
            self._clients[timeout_ms] = StoreClient(StoreAddress(online.connection_string, online.redis_type), timeout_ms)
        return self._clients[timeout_ms]


def _utc_us(at: datetime) -> int:
    return to_microseconds(at if at.tzinfo is not None else at.replace(tzinfo=UTC))


def _kept(data: bytes | None, repair: bool) -> versions.Versions:
    """The rows of an entity; none where there are none, and, for a repair, where they are damaged."""
    try:
        return versions.Versions() if data is None else versions.decode(data)
    except StateUnreadable:
        if repair:
            return versions.Versions()
        raise


def _now_us() -> int:
    return to_microseconds(datetime.now(UTC))
