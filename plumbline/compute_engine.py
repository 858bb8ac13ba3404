"""Feast's batch engine: `feast materialize` computes states from the log and installs them in the online store."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from feast import Entity
from feast.feature_view import FeatureView
from feast.infra.common.materialization_job import MaterializationJob, MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.base import ComputeEngine
from feast.infra.registry.base_registry import BaseRegistry
from feast.type_map import python_values_to_proto_values

from plumbline.apply_checks import refuse_nonsense
from plumbline.deliveries import Claims
from plumbline.event_log import history_generation, log_positions, read_events, read_rows
from plumbline.event_table import typed
from plumbline.install import Installer, install_claims, log_cut
from plumbline.instant import to_microseconds
from plumbline.online_store import WindowedOnlineStore
from plumbline.spec import is_windowed, join_keys_of, log_source
from plumbline.value_codec import EVERYBODY, entity_bytes, join_key_columns
from plumbline.versions import Version


class WindowedMaterializationJob(MaterializationJob):
    """A finished materialization; it ran when it was asked for."""

    def __init__(self, job_id: str, error: BaseException | None = None) -> None:
        super().__init__()
        self._job_id, self._error = job_id, error

    def status(self) -> MaterializationJobStatus:
        """SUCCEEDED, or ERROR where there is one."""
        return MaterializationJobStatus.ERROR if self._error else MaterializationJobStatus.SUCCEEDED

    def error(self) -> BaseException | None:
        """What went wrong; None when it went well."""
        return self._error

    def should_be_retried(self) -> bool:
        """Never: it ran to its end."""
        return False

    def job_id(self) -> str:
        """The name that Feast gave the job."""
        return self._job_id

    def url(self) -> str | None:
        """None: there is no page to look at."""
        return None


class WindowedComputeEngine(ComputeEngine):
    """Materializes windowed views from their log to its end, and slowly changing views up to END.

    START bounds nothing: a window needs its whole past, and a row that still holds may be older than START.
    """

    online_store: WindowedOnlineStore

    def update(
        self,
        project: str,
        views_to_delete: Sequence[FeatureView],
        views_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
    ) -> None:
        """Part of `feast apply`: refuses declarations that make no sense, online or not, before anything is registered."""
        refuse_nonsense(views_to_keep, self.repo_config, entities_to_keep)

    def teardown_infra(self, project: str, fvs: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Nothing: the online store's teardown removes the states."""

    def _materialize_one(self, registry: BaseRegistry, task: MaterializationTask, **kwargs: Any) -> MaterializationJob:
        view = task.feature_view
        if is_windowed(view):
            self._materialize_windowed(task)
        else:
            self._materialize_rows(task)
        return WindowedMaterializationJob(f"{task.project}-{view.name}")

    def _materialize_windowed(self, task: MaterializationTask) -> None:
        """Positions are taken before the rows are read, so every row up to them is among those read."""
        config, view = self.repo_config, task.feature_view
        layout = self.online_store.layout(config, view)
        source = layout.spec.source
        positions, generation = log_positions(source), history_generation(source)
        events = typed(read_events(source, layout.spec.columns, join_keys=layout.spec.join_keys))
        events = _up_to(events, positions)
        client, keyspace = self.online_store.writer(config), self.online_store.keyspace(config)
        install_claims(Claims(client, keyspace, source.name), events, source.allowed_lateness_us)
        cut = log_cut(events, positions, generation, to_microseconds(datetime.now(UTC)))
        with task.tqdm_builder(events.num_rows) as progress:
            Installer(client, keyspace, layout).install(events, cut, progress.update)

    def _materialize_rows(self, task: MaterializationTask) -> None:
        config, view = self.repo_config, task.feature_view
        source = log_source(view, config.repo_path)
        names = [field.name for field in view.features]
        join_keys = join_keys_of(view)
        rows = read_rows(source, names, join_keys=join_keys)
        at = rows["event_timestamp"].cast(pa.int64())
        rows = rows.filter(pa.compute.less_equal(at, to_microseconds(_utc(task.end_time))))
        columns = [
            python_values_to_proto_values(rows[field.name].to_pylist(), field.dtype.to_value_type()) for field in view.features
        ]
        keys = entity_bytes(join_keys, join_key_columns(rows, join_keys)) if join_keys else [EVERYBODY] * rows.num_rows
        times = (rows[name].cast(pa.int64()).to_pylist() for name in ("event_timestamp", "created_timestamp"))
        versions: dict[bytes, list[Version]] = {}
        for key, event_us, created_us, *values in zip(keys, *times, *columns, strict=True):
            if key is not None:
                features = {name: value.SerializeToString() for name, value in zip(names, values, strict=True)}
                versions.setdefault(key, []).append(Version(event_us, created_us, features))
        with task.tqdm_builder(len(versions)) as progress:
            self.online_store.write_versions(config, view.name, versions, repair=True)
            progress.update(len(versions))


def _up_to(events: pa.Table, positions: dict[int, int]) -> pa.Table:
    """The events at or before the positions; the log may have grown since those were read."""
    partitions, offsets = (
        events[name].fill_null(-1).to_numpy().astype(np.int64) for name in ("source_partition", "source_offset")
    )
    numbers = np.array(sorted(positions), dtype=np.int64)
    ends = np.array([positions[number] for number in sorted(positions)] + [-1], dtype=np.int64)
    place = np.searchsorted(numbers, partitions)
    known = np.append(numbers, -1)[place] == partitions
    kept = (partitions < 0) | (known & (offsets <= ends[place]))
    return events if kept.all() else events.filter(pa.array(kept))


def _utc(at: datetime) -> datetime:
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
