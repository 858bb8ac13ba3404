"""A Feast FeatureStore whose windowed views take raw events and whose answers say what they rest on."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import feast
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from feast.data_source import PushMode
from feast.errors import PushSourceNotFoundException
from feast.feature_service import FeatureService
from feast.feature_view import FeatureView
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from feast.saved_dataset import SavedDataset
from feast.stream_feature_view import StreamFeatureView
from feast.utils import _get_cached_request_context

from plumbline.answer import Answer
from plumbline.direct_read import DirectRead, direct_read
from plumbline.event_table import from_pandas, normalised
from plumbline.fold import Fold
from plumbline.instant import as_of, from_microseconds, read_instant_us, to_microseconds
from plumbline.kept_events import Head, head_of
from plumbline.key_types import check_keys_of_events
from plumbline.keyspace import HISTORY, REACH
from plumbline.layout import Layout
from plumbline.online_reading import EntityAnswer
from plumbline.online_store import WindowedOnlineStore, answers_of_this_read
from plumbline.pushing import not_yet_logged, push_rows
from plumbline.spec import is_windowed, log_source
from plumbline.store_client import as_dict
from plumbline.value_codec import entity_bytes
from plumbline.value_proto import plain_value
from plumbline.view_spec import DeclarationError, LogSource

log = logging.getLogger(__name__)


class FeatureStore(feast.FeatureStore):
    """feast.FeatureStore for windowed views: push takes raw events, positions say what was applied."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._services: dict[str, tuple[object, FeatureService]] = {}
        self._direct_reads: dict[object, tuple[object, DirectRead | None]] = {}

    @property
    def registry(self) -> BaseRegistry:
        """Feast's. Views are served while they are materialized: each state is replaced in one step, so reads are right."""
        registry = super().registry
        registry.serve_features_while_materializing = True
        return registry

    def push(
        self,
        push_source_name: str,
        df: pd.DataFrame,
        allow_registry_cache: bool = True,
        to: PushMode = PushMode.ONLINE,
        transform_on_write: bool = True,
    ) -> None:
        """Push raw events (rows of the log) to every view over the source.

        Rows with source_partition and source_offset must be those partitions' records in order with none left out; they are
        folded into the partition's slot and move its position (what is at or before the position was applied already).
        Rows without form the slot `push`; created_timestamp defaults to now. Rows that are too late, or dated more than 5
        minutes ahead of their creation, are counted by no window and named in a warning.
        to=OFFLINE and ONLINE_AND_OFFLINE append the rows to the log, once for all views.

        Raises PushSourceNotFoundException, and ValueError naming the column when one is missing or does not fit.
        """
        views = self._fvs_for_push_source_or_raise(push_source_name, allow_registry_cache)
        windowed = sorted((view for view in views if is_windowed(view)), key=lambda view: view.name)
        stock = sorted((view for view in views if not is_windowed(view)), key=lambda view: view.name)
        if windowed:
            self._push_events(windowed, from_pandas(df), to)
        for view in stock:
            if to in (PushMode.ONLINE, PushMode.ONLINE_AND_OFFLINE):
                self.write_to_online_store(
                    view.name, df, allow_registry_cache=allow_registry_cache, transform_on_write=transform_on_write
                )
            if to in (PushMode.OFFLINE, PushMode.ONLINE_AND_OFFLINE) and not windowed:
                self.write_to_offline_store(view.name, df, allow_registry_cache=allow_registry_cache)

    async def push_async(
        self,
        push_source_name: str,
        df: pd.DataFrame,
        allow_registry_cache: bool = True,
        to: PushMode = PushMode.ONLINE,
        transform_on_write: bool = True,
    ) -> None:
        """push, as a coroutine; it blocks for one round trip or two."""
        self.push(push_source_name, df, allow_registry_cache, to, transform_on_write)

    def create_saved_dataset(self, from_: RetrievalJob, name: str, *args: Any, **kwargs: Any) -> SavedDataset:
        """Feast's, and what is saved is read back whole: all columns of the entity rows, all rows that have a time.

        Feast forgets the join keys of windowed views beside others, and reads a set that replaces one of its name in the range
        of time of that one.
        """
        dataset = super().create_saved_dataset(from_, name, *args, **kwargs)
        asked = from_.metadata
        assert asked is not None
        dataset.join_keys = list(asked.keys)
        dataset.min_event_timestamp, dataset.max_event_timestamp = asked.min_event_timestamp, asked.max_event_timestamp
        self.registry.delete_saved_dataset(name, self.project, commit=False)
        self.registry.apply_saved_dataset(dataset, self.project)
        return dataset.with_retrieval_job(self._get_provider().retrieve_saved_dataset(self.config, dataset))

    def positions(self, view: str) -> dict[int, int]:
        """Partition -> last offset that every shard of the online store has applied to a windowed view.

        A partition is absent while some shard has not applied anything of it. Raises FeatureViewNotFoundException.
        """
        spec = self.layout(view).spec
        keyspace = self._online_store.keyspace(self.config)
        shards = [keyspace.positions(spec, shard) for shard in range(keyspace.shards)]
        answers = self._online_store.writer(self.config).pipeline(("HGETALL", key) for key in shards)
        known = [{name.decode(): int(value) for name, value in as_dict(answer).items()} for answer in answers]
        partitions = set.intersection(*(set(fields) for fields in known)) - {HISTORY, REACH}
        return {int(p): min(fields[p] for fields in known) for p in sorted(partitions, key=int)}

    def read_online(
        self,
        features: Sequence[str] | str,
        entity_rows: Sequence[Mapping[str, object]],
        at: datetime | None = None,
    ) -> list[Answer]:
        """Features of entity rows as of `at` (default: now, or the enclosing as_of), with positions.

        features     references "view:feature", or the name of a feature service
        entity_rows  join keys and request data by name, the same names in every row

        One answer a row, in order. Raises AsOfTooOld, StoreUnavailable, StateUnreadable.
        """
        if not entity_rows:
            return []
        wanted = self._service(features) if isinstance(features, str) else list(features)
        at_us = read_instant_us() if at is None else to_microseconds(at)
        direct = self._direct_read(wanted)
        entities, given = (direct.entities(entity_rows), direct.given(entity_rows)) if direct else (None, None)
        if direct and entities and given is not None:
            return direct.answers(self._online_store.reader(self.config), entities, given, at_us)
        collected: dict[str, list[EntityAnswer]] = {}
        token = answers_of_this_read.set(collected)
        try:
            with as_of(from_microseconds(at_us)):
                response = self.get_online_features(wanted, list(map(dict, entity_rows)), full_feature_names=True)
        finally:
            answers_of_this_read.reset(token)
        return _answers(response.proto, collected, set(entity_rows[0]), at_us)

    def heads(self, views: Sequence[str], entity: Mapping[str, object]) -> dict[str, Head]:
        """The raw events that the online store still holds of one entity, by windowed view.

        views  windowed views whose join keys are those of `entity` (name -> value)
        Raises FeatureViewNotFoundException, StoreUnavailable, StateUnreadable.
        """
        layouts = [self.layout(view) for view in views]
        (key,) = entity_bytes(list(entity), [[value] for value in entity.values()])
        if key is None:
            return {view: Head(None, []) for view in views}
        slots = self._online_store.reader(self.config).slots(layouts, key)
        return {view: head_of(layout, states) for view, layout, states in zip(views, layouts, slots, strict=True)}

    def _direct_read(self, features: FeatureService | list[str]) -> DirectRead | None:
        """How a request is read without Feast's own steps; kept as long as Feast keeps what it found in the registry."""
        context = _get_cached_request_context(self.registry, self.project, features, full_feature_names=True)
        key = features.name if isinstance(features, FeatureService) else tuple(features)
        known = self._direct_reads.get(key)
        if known is None or known[0] is not context:
            _, on_demand, _, types, _, grouped, wanted, request_names, _ = context
            known = context, direct_read(self._online_store, self.config, grouped, types, on_demand, request_names, wanted)
            self._direct_reads[key] = known
        return known[1]

    def _service(self, name: str) -> FeatureService:
        """A feature service of the registry as last refreshed; Feast builds it anew from its bytes on every call."""
        version = getattr(self.registry, "cached_registry_proto_created", None)
        cached = self._services.get(name)
        if cached is None or cached[0] != version:
            cached = self._services[name] = version, self.get_feature_service(name, allow_cache=True)
        return cached[1]

    def fold(self, source: str) -> Fold:
        """The fold of a source's partitions into every online windowed view over it.

        Raises PushSourceNotFoundException when no windowed view reads the source.
        """
        layouts = self._layouts_over(source)
        online = self._online_store
        return Fold(online.writer(self.config), online.keyspace(self.config), layouts[0].spec.source, layouts)

    def layout(self, view: str) -> Layout:
        """The compiled windows of a view, as applied. Raises FeatureViewNotFoundException."""
        return self._online_store.layout(self.config, self.get_stream_feature_view(view))

    def definition_hash(self, feature_service: str) -> str:
        """16 hex digits over everything the features of a service are computed from.

        Windows, columns, logs and lateness of windowed views; schema, source and ttl of slowly changing ones; the code of
        on-demand views; and which features the service takes. Where the log lies does not matter.
        """
        service = self.get_feature_service(feature_service)
        described: list[object] = []
        for projection in service.feature_view_projections:
            described.append([projection.name_to_use(), sorted(feature.name for feature in projection.features)])
            described.append(self._described(projection.name))
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]

    def _described(self, name: str) -> object:
        view = self.registry.get_any_feature_view(name, self.project)
        if isinstance(view, OnDemandFeatureView):
            code = view.feature_transformation.udf_string
            inputs = sorted(projection.name for projection in view.source_feature_view_projections.values())
            return [name, code, [self._described(source) for source in inputs]]
        if is_windowed(view):
            return [name, self._online_store.layout(self.config, view).spec.definition_hash]
        fields = sorted((field.name, str(field.dtype)) for field in view.features)
        return [name, fields, sorted(view.join_keys), view.ttl.total_seconds() if view.ttl else 0]

    def _get_feature_view_and_df_for_online_write(self, *args: Any, **kwargs: Any) -> tuple[FeatureView, pd.DataFrame]:
        """What write_to_online_store writes: rows of slowly changing views; a windowed view's values are only computed."""
        view, frame = super()._get_feature_view_and_df_for_online_write(*args, **kwargs)
        if is_windowed(view):
            raise ValueError(f"View '{view.name}' is windowed: its values are computed, not written; push its raw events.")
        return view, frame

    def _push_events(self, views: list[StreamFeatureView], events: pa.Table, to: PushMode) -> None:
        source = log_source(views[0], self.config.repo_path)
        layouts = [self._online_store.layout(self.config, view) for view in views if view.online]
        table = normalised(events, source, [layout.spec for layout in layouts], datetime.now(UTC))
        for view in views:
            check_keys_of_events(view, table)
        if to in (PushMode.OFFLINE, PushMode.ONLINE_AND_OFFLINE):
            self._append(views[0], source, _as_logged(events, source, table), table)
        if to == PushMode.OFFLINE or not layouts:
            return
        streamed = pc.and_(pc.is_valid(table["source_partition"]), pc.is_valid(table["source_offset"]))
        self._fold_pushed(source, layouts, table.filter(streamed))
        self._push_unordered(source, layouts, table.filter(pc.invert(streamed)))

    def _fold_pushed(self, source: LogSource, layouts: list[Layout], table: pa.Table) -> None:
        if not table.num_rows:
            return
        online = self._online_store
        fold = Fold(online.writer(self.config), online.keyspace(self.config), source, layouts)
        ends: dict[int, int] = {}
        pairs = zip(table["source_partition"].to_pylist(), table["source_offset"].to_pylist(), strict=True)
        for partition, offset in pairs:
            before = ends.get(partition, -1)
            if offset <= before:
                follows = f"after {before}" if partition in ends else "but offsets begin at 0"
                raise ValueError(
                    f"Rows pushed to '{source.name}' must be in the order of their offsets: partition {partition} has offset "
                    f"{offset} {follows}."
                )
            ends[partition] = offset
        counts = fold.write(fold.prepare_normalised(table, ends))
        _warn_of_rejected(source, counts.too_late, counts.refused)

    def _push_unordered(self, source: LogSource, layouts: list[Layout], table: pa.Table) -> None:
        if not table.num_rows:
            return
        online = self._online_store
        counts = push_rows(online.writer(self.config), online.keyspace(self.config), layouts, table)
        _warn_of_rejected(source, counts.too_late, counts.refused)

    def _append(self, view: StreamFeatureView, source: LogSource, rows: pa.Table, table: pa.Table) -> None:
        """Append raw rows to the log behind a view: those that windows count, and that the log does not hold yet."""
        new = pa.array(not_yet_logged(source, table))
        if pc.any(new).as_py():
            self._get_provider().offline_store.offline_write_batch(self.config, view, rows.filter(new), None)

    def _layouts_over(self, source: str) -> list[Layout]:
        views = [view for view in self.list_stream_feature_views() if is_windowed(view) and view.online]
        of_source = [view for view in views if view.stream_source is not None and view.stream_source.name == source]
        if not of_source:
            raise PushSourceNotFoundException(source)
        return [self._online_store.layout(self.config, view) for view in sorted(of_source, key=lambda view: view.name)]

    @property
    def _online_store(self) -> WindowedOnlineStore:
        online = self._get_provider().online_store
        if not isinstance(online, WindowedOnlineStore):
            raise DeclarationError(
                "feature_store.yaml needs online_store: {type: plumbline.online_store.WindowedOnlineStore} for windowed views."
            )
        return online


def _as_logged(events: pa.Table, source: LogSource, table: pa.Table) -> pa.Table:
    """The rows as the log keeps them: as pushed, with the created timestamp that the online side used."""
    created = source.created_timestamp_column
    if created is None:
        return events
    values = table["created_timestamp"]
    index = events.schema.get_field_index(created)
    return events.append_column(created, values) if index < 0 else events.set_column(index, created, values)


def _answers(
    response: GetOnlineFeaturesResponse, collected: Mapping[str, list[EntityAnswer]], given: set[str], at_us: int
) -> list[Answer]:
    names = list(response.metadata.feature_names.val)
    vectors = list(response.results)
    rows = len(vectors[0].values) if vectors else 0
    columns = {
        name: ([plain_value(v) for v in vector.values], [FieldStatus.Name(s) for s in vector.statuses])
        for name, vector in zip(names, vectors, strict=True)
        if name not in given
    }
    return [
        Answer(
            {name: values[i] for name, (values, _) in columns.items()},
            {name: statuses[i] for name, (_, statuses) in columns.items()},
            {view: answers[i].found for view, answers in collected.items()},
            {view: dict(answers[i].positions) for view, answers in collected.items()},
            from_microseconds(at_us),
            tuple(overflow for of_view in collected.values() for overflow in of_view[i].overflows),
        )
        for i in range(rows)
    ]


def _warn_of_rejected(source: LogSource, too_late: int, refused: int) -> None:
    if too_late or refused:
        log.warning(
            "Pushed to '%s': %d rows came more than the allowed lateness of %g s after their time, %d are dated more than "
            "5 minutes ahead; no window counts them.",
            source.name, too_late, source.allowed_lateness_us / 1e6, refused,
        )  # fmt: skip
