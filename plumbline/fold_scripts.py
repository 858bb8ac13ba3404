"""What a fold asks of a shard of the store: one script that reads states, one that compares and writes.

Numbers and states travel as arrays in a few arguments: an argument for each costs the client more than all else it does
with a state. Numbers are int64, little-endian; names of slots are made of them in the script.
"""

from collections.abc import Sequence
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np

from plumbline import state_pieces
from plumbline.state_pieces import Slot
from plumbline.store_client import StoreClient

NO_SLOT = Slot(None, None)
NO_POSITION = -1
NOT_MOVED = -2
"""Stands for a position that is not compared and stays as it is."""

_HELPERS = """
local function numbers(list)
  local all = {}
  for begin = 1, #list, 800 do
    local some = {struct.unpack('<' .. string.rep('i8', math.min(#list - begin + 1, 800) / 8), list, begin)}
    for i = 1, #some - 1 do all[#all + 1] = some[i] end
  end
  return all
end
local texts = setmetatable({}, {__index = function(texts, number)
  texts[number] = string.format('%.0f', number)
  return texts[number]
end})
"""
"""numbers reads an array, a hundred at a time; texts gives the decimal digits of a number, made once."""

READ = (
    _HELPERS
    + """
local found, slots = {}, numbers(ARGV[1])
for i = 1, #KEYS do
  local slot = texts[slots[i]]
  local recent = redis.call('HGET', KEYS[i], slot .. '+')
  if not recent then found[i] = redis.call('HGET', KEYS[i], slot)
  elseif #recent <= math.max(ARGV[2], redis.call('HSTRLEN', KEYS[i], slot) / 8) then found[i] = {recent}
  else found[i] = {recent, redis.call('HGET', KEYS[i], slot)} end
end
return found
"""
)
"""What there is of each slot: a settled state, or {recent}, or, where that is to be folded into the settled one, both.

KEYS  of the states
ARGV  the slot of each; how many bytes a recent state may have whatever the settled one has
"""

WRITE = (
    _HELPERS
    + """
local partitions, ends, expected = {}, numbers(ARGV[2]), numbers(ARGV[3])
for p, partition in ipairs(numbers(ARGV[1])) do partitions[p] = texts[partition] end
local views = #expected / #partitions
local revision = redis.call('HGET', KEYS[#KEYS], 'token') or ''
for view = 1, views do
  local current = redis.call('HMGET', KEYS[view], unpack(partitions))
  for p = 1, #partitions do
    local at = expected[(view - 1) * #partitions + p]
    if at ~= -2 and (current[p] or '-1') ~= texts[at] then return {'position', revision} end
  end
end

local slots = numbers(ARGV[4])
if revision ~= ARGV[8] then
  for i = 1, #slots do
    local slot = texts[slots[i]]
    local current = redis.call('HGET', KEYS[views + i], slot .. '+') or redis.call('HGET', KEYS[views + i], slot)
    local stamp = string.sub(ARGV[5], 16 * i - 15, 16 * i)
    if (current and string.sub(current, 1, 16) or string.rep('\\0', 16)) ~= stamp then return {'state', revision} end
  end
end

local begin, states, settled = 1, ARGV[7], tonumber(ARGV[9])
for i, stop in ipairs(numbers(ARGV[6])) do
  local name = texts[slots[i]]
  if i > settled then name = name .. '+' end
  redis.call('HSET', KEYS[views + i], name, string.sub(states, begin, stop))
  begin = stop + 1
end
for view = 1, views do
  local moved = {}
  for p = 1, #partitions do
    if expected[(view - 1) * #partitions + p] ~= -2 then
      moved[#moved + 1], moved[#moved + 2] = partitions[p], texts[ends[p]]
    end
  end
  if #moved > 0 then redis.call('HSET', KEYS[view], unpack(moved)) end
end
return {'ok', revision}
"""
)
"""Positions are compared, then the stamps (first 16 bytes) of slots; only if all are as expected is anything written.

Stamps are left out while the shard's revision is the one before the states were read: nobody but a writer of the same
positions has written states since, and that one is told by the positions. The revision is returned beside the outcome.

KEYS  of the positions of views that move some, of the states, of the revision
ARGV  partitions; the position each shall have; of each view and partition the position it must have (-1: none, -2: it is
      not compared and stays); of each state its slot and its stamp (zeros: none); where in the next argument it ends; states;
      the revision; how many of the states, the first ones, are settled: the others are recent (plumbline.state_pieces)
"""


class PositionMoves(NamedTuple):
    """How the positions of a batch's partitions move, in every shard and view.

    keys              of the positions, shard by shard, one a view
    partitions, ends  int64 (partitions,): where they move
    expected          int64 (shards, views, partitions): where they are; NO_POSITION: nowhere; NOT_MOVED: they stay
    """

    keys: Sequence[Sequence[str]]
    partitions: np.ndarray
    ends: np.ndarray
    expected: np.ndarray


class NewStates(NamedTuple):
    """States to be written, all of these n long.

    slots, shards  int64; a slot is a partition
    stamps         int64 (n, 2): as the slots' must be in the store; zeros where there must be none
    data           the bytes of each
    recent         bool (n,): which are recent states; the others are settled ones
    """

    keys: list[bytes]
    slots: np.ndarray
    shards: np.ndarray
    stamps: np.ndarray
    data: list[bytes]
    recent: np.ndarray


def together(parts: Sequence[NewStates]) -> NewStates:
    """The states of several views as one list."""
    return NewStates(
        list(chain.from_iterable(of_view.keys for of_view in parts)),
        np.concatenate([of_view.slots for of_view in parts]),
        np.concatenate([of_view.shards for of_view in parts]),
        np.concatenate([of_view.stamps for of_view in parts]),
        list(chain.from_iterable(of_view.data for of_view in parts)),
        np.concatenate([of_view.recent for of_view in parts]),
    )


def read(client: StoreClient, keys: Sequence[bytes], slots: np.ndarray, shards: np.ndarray) -> list[Slot]:
    """What there is of each slot, in order; slots (partitions) and shards are int64 (slots,)."""
    of_shards = [places for places in _by_shard(shards) if len(places)]
    calls = [([keys[i] for i in places.tolist()], [_numbers(slots[places]), state_pieces.RECENT_BYTES]) for places in of_shards]
    found = [NO_SLOT] * len(keys)
    for places, answers in zip(of_shards, client.scripts(READ, calls), strict=True):
        for i, answer in zip(places.tolist(), answers, strict=True):
            if isinstance(answer, list):
                found[i] = Slot(answer[1] or b"" if len(answer) > 1 else None, answer[0])
            elif answer is not None:
                found[i] = Slot(answer, None)
    return found


class Revision(NamedTuple):
    """Where a shard's revision is, and what it was when it was last seen; "?" before."""

    key: str
    seen: bytes = b"?"


def write(
    client: StoreClient, shards: Sequence[int], moves: PositionMoves, states: NewStates, revisions: Sequence[Revision]
) -> list[tuple[str, Revision]]:
    """Compare and write some shards; revisions are every shard's, seen before the states were read.

    Of each shard that was asked 'ok', or 'position' or 'state' for what was not as expected; and its revision.
    """
    places = _by_shard(states.shards, max(shards, default=0) + 1, states.recent)
    calls = [_call(shard, moves, states, places[shard], revisions[shard]) for shard in shards]
    answers = client.scripts(WRITE, calls)
    return [
        (outcome.decode(), revisions[shard]._replace(seen=seen)) for shard, (outcome, seen) in zip(shards, answers, strict=True)
    ]


def _call(
    shard: int, moves: PositionMoves, states: NewStates, places: np.ndarray, revision: Revision
) -> tuple[list[str | bytes], list[bytes]]:
    of_shard = places.tolist()
    data = [states.data[i] for i in of_shard]
    ends = np.cumsum(np.fromiter(map(len, data), np.int64, len(data)))
    views = np.flatnonzero((moves.expected[shard] != NOT_MOVED).any(axis=1)).tolist()
    numbers = (moves.partitions, moves.ends, moves.expected[shard, views], states.slots[places], states.stamps[places], ends)
    keys = [*(moves.keys[shard][view] for view in views), *(states.keys[i] for i in of_shard), revision.key]
    settled = len(of_shard) - int(states.recent[places].sum())
    return keys, [*map(_numbers, numbers), b"".join(data), revision.seen, b"%d" % settled]


def _by_shard(shards: np.ndarray, at_least: int = 0, last: np.ndarray | None = None) -> list[np.ndarray]:
    """The places of each shard's states, from shard 0 on; those that are `last` behind its others."""
    count = max(at_least, int(shards.max(initial=-1)) + 1)
    order = np.argsort(shards, kind="stable") if last is None else np.lexsort((last, shards))
    cuts = np.searchsorted(shards[order], np.arange(count + 1)).tolist()
    return [order[begin:end] for begin, end in pairwise(cuts)]


def _numbers(array: np.ndarray) -> bytes:
    return array.astype("<i8", copy=False).tobytes()
