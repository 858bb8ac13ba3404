"""Reading: all views and entities of a request in one round trip, then decode, merge and finish."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from plumbline import versions
from plumbline.instant import AsOfTooOld, from_microseconds
from plumbline.keyspace import HISTORY, PUSH, Keyspace
from plumbline.keyspace import REACH as REACH_FIELD
from plumbline.layout import Layout
from plumbline.state import IntegerOverflow, values_of_views
from plumbline.state_pieces import slot_of
from plumbline.state_words import FENCE, GENERATION, NEVER, RAW_ROWS, REACH, header_word
from plumbline.store_client import StoreClient, as_dict
from plumbline.view_spec import ViewSpec

_REACH = REACH_FIELD.encode()

Positions = dict[str, int | str]
"""What an answer rests on: partition -> last offset applied, 'history' -> generation, 'push' -> revision where rows were
pushed without an offset; of a slowly changing view the times of its row."""


@dataclass(frozen=True)
class WindowedRead:
    """Entities of one windowed view; an entity is None where a join key is null."""

    layout: Layout
    entities: Sequence[bytes | None]


@dataclass(frozen=True)
class VersionedRead:
    """Entities of one slowly changing view; ttl_us 0 is for ever."""

    view: str
    ttl_us: int
    entities: Sequence[bytes | None]


class _Keys(NamedTuple):
    """A read's keys, an entity each: of what its shard has applied (windowed views), and of its states or rows."""

    versioned: bool
    positions: list[str | None]
    entities: list[bytes | None]


class _Found(NamedTuple):
    """What the store holds: positions and states by slot, and rows; under None what a null key reads."""

    positions: Mapping[str | None, Mapping[bytes, bytes]]
    rows: Mapping[bytes | None, object]
    states: Mapping[bytes | None, Mapping[bytes, bytes]]


@dataclass
class EntityAnswer:
    """What the store says of one entity in one view.

    found      the store holds any state (a row, for a slowly changing view)
    values     one value a window, in the order of the view's windows (windowed views)
    row        the row that holds (slowly changing views); None when there is none or it is past its ttl
    expired    a row was there but past its ttl
    overflows  windows whose integer left its type; their value is None
    """

    found: bool
    positions: Positions
    values: list[object] = field(default_factory=list)
    row: versions.Version | None = None
    expired: bool = False
    overflows: list[str] = field(default_factory=list)


class OnlineReader:
    """Answers reads from the store's bytes; raises AsOfTooOld, StateUnreadable, StoreUnavailable."""

    def __init__(self, client: StoreClient, keyspace: Keyspace) -> None:
        self._client, self._keyspace = client, keyspace

    def read(self, reads: Sequence[WindowedRead | VersionedRead], at_us: int) -> list[list[EntityAnswer]]:
        """For each read, one answer an entity, in order. One pipeline for everything.

        Positions are read before states on the same node, so a state is never behind the positions it is reported with.
        """
        keys = [self._keys(read) for read in reads]
        found = self._found(keys)
        slots = [[] if of_read.versioned else [found.states[key] for key in of_read.entities] for of_read in keys]
        stored = [
            (read.layout, [list(of_entity.values()) for of_entity in of_read])
            for read, of_read in zip(reads, slots, strict=True)
            if isinstance(read, WindowedRead)
        ]
        values = iter(values_of_views(stored, at_us))
        return [
            [_versioned_answer(read, found.rows[key], at_us) for key in of_read.entities]
            if isinstance(read, VersionedRead)
            else _windowed_answers(
                read.layout.spec, [found.positions[key] for key in of_read.positions], of_slots, next(values), at_us
            )
            for read, of_read, of_slots in zip(reads, keys, slots, strict=True)
        ]

    def _found(self, keys: Sequence[_Keys]) -> _Found:
        """What the store holds under the keys of some reads: one pipeline."""
        position_keys = list(dict.fromkeys(key for of_read in keys for key in of_read.positions if key is not None))
        versioned, windowed = (
            list(
                dict.fromkeys(
                    key for of_read in keys if of_read.versioned is kind for key in of_read.entities if key is not None
                )
            )
            for kind in (True, False)
        )
        answers = iter(
            self._client.pipeline(
                [("HGETALL", key) for key in position_keys]
                + [("GET", key) for key in versioned]
                + [("HGETALL", key) for key in windowed]
            )
        )
        return _Found(
            positions={None: {}} | {key: as_dict(next(answers)) for key in position_keys},
            rows={None: None} | {key: next(answers) for key in versioned},
            states={None: {}} | {key: as_dict(next(answers)) for key in windowed},
        )

    def slots(self, layouts: Sequence[Layout], entity: bytes) -> list[Mapping[bytes, bytes]]:
        """The states of one entity as they are stored, a slot each, for every view. One round trip."""
        keys = [self._keyspace.state(layout.spec, entity) for layout in layouts]
        return [as_dict(answer) for answer in self._client.pipeline(("HGETALL", key) for key in keys)]

    def _keys(self, read: WindowedRead | VersionedRead) -> _Keys:
        if isinstance(read, VersionedRead):
            rows = [None if entity is None else self._keyspace.versions(read.view, entity) for entity in read.entities]
            return _Keys(True, [], rows)
        spec = read.layout.spec
        shards = [None if entity is None else self._keyspace.shard(entity) for entity in read.entities]
        prefixes = {shard: self._keyspace.state_prefix(spec, shard) for shard in set(shards) if shard is not None}
        places = {shard: self._keyspace.positions(spec, shard) for shard in prefixes}
        positions = [None if shard is None else places[shard] for shard in shards]
        states = [
            None if entity is None or shard is None else prefixes[shard] + entity
            for entity, shard in zip(read.entities, shards, strict=True)
        ]
        return _Keys(False, positions, states)


def _windowed_answers(
    spec: ViewSpec,
    known: Sequence[Mapping[bytes, bytes]],
    slots: Sequence[Mapping[bytes, bytes]],
    values: Sequence[list[object]],
    at_us: int,
) -> list[EntityAnswer]:
    """Of entities with what their shard has applied, their states and their values."""
    answers = []
    for of_view, states, of_entity in zip(known, slots, values, strict=True):
        reaches = [int(of_view.get(_REACH, NEVER)), *(header_word(data, REACH) for data in states.values())]
        _check_reach(spec, reaches, at_us)
        overflows = [str(value) for value in of_entity if isinstance(value, IntegerOverflow)]
        plain = [None if isinstance(value, IntegerOverflow) else value for value in of_entity] if overflows else of_entity
        answers.append(EntityAnswer(bool(states), _effective_positions(of_view, states), plain, overflows=overflows))
    return answers


def _effective_positions(known: Mapping[bytes, bytes], states: Mapping[bytes, bytes]) -> Positions:
    """The larger of the view's position and the state's own fence, per partition; the generation of the history used."""
    positions: Positions = {
        name.decode(): int(value) for name, value in known.items() if name.decode() not in (REACH_FIELD, HISTORY)
    }
    for name, data in states.items():
        slot = slot_of(name.decode())
        if slot == HISTORY:
            continue
        if slot != PUSH:
            positions[slot] = max(header_word(data, FENCE), int(positions.get(slot, -1)))
        elif header_word(data, RAW_ROWS):
            positions[PUSH] = header_word(data, FENCE)  # it changes with every push and when the log takes rows over
    if HISTORY.encode() in states:
        positions[HISTORY] = header_word(states[HISTORY.encode()], GENERATION)
    elif HISTORY.encode() in known:
        positions[HISTORY] = int(known[HISTORY.encode()])
    return positions


def _versioned_answer(read: VersionedRead, data: object, at_us: int) -> EntityAnswer:
    if data is None:
        return EntityAnswer(False, {})
    kept = versions.decode(data)  # type: ignore[arg-type]
    if at_us < kept.reach_us:
        _refuse(read.view, kept.reach_us, at_us)
    row = kept.at(at_us)
    if row is None:
        return EntityAnswer(False, {})
    expired = bool(read.ttl_us) and row.event_us < at_us - read.ttl_us
    times: Positions = {
        "event_timestamp": from_microseconds(row.event_us).isoformat(),
        "created_timestamp": from_microseconds(row.created_us).isoformat(),
    }
    return EntityAnswer(True, times, row=None if expired else row, expired=expired)


def _check_reach(spec: ViewSpec, reaches: Sequence[int], at_us: int) -> None:
    if at_us < max(reaches):
        _refuse(spec.name, max(reaches), at_us)


def _refuse(view: str, reach_us: int, at_us: int) -> None:
    raise AsOfTooOld(
        f"View '{view}' cannot be read as of {from_microseconds(at_us).isoformat()}: its online state reaches back to "
        f"{from_microseconds(reach_us).isoformat()}; use get_historical_features for older instants."
    )
