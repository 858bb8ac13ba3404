"""The compiled fold: new rows of many entities into their states, one call a view.

For each state: stored and new rows in one order -> those before the cut leave the head -> stored tiles and leaving rows merge
into the tiles that are right for the new reach -> lasts and distinct values take in the leaving rows -> everything is written
out with a fresh heap. The result is a function of the set of events, not of the batches they came in.
"""

from typing import NamedTuple

import numpy as np

from plumbline.compiled import inlined, kernel
from plumbline.fold_heap import write_heap
from plumbline.fold_kept import write_distinct, write_lasts
from plumbline.fold_rows import Arrived, Folding, Room, rows_in_order, write_rows
from plumbline.fold_tiles import write_tiles
from plumbline.fold_times import Times, times_of
from plumbline.plan import Plan
from plumbline.state_parts import Parts, States, first_at_or_after, is_there, kept_words, parts_of
from plumbline.state_records import Texts
from plumbline.state_seals import seal_of
from plumbline.state_words import (
    CREATED,
    FENCE,
    FIXED_WORDS,
    GENERATION,
    HEAP_BYTES,
    ID,
    NEVER,
    NEWEST,
    RAW_ROWS,
    REACH,
    REFERENCE_BITS,
    TILES,
    UNORDERED_WORDS,
    WITH_ORDER,
)

_LENGTH = (1 << REFERENCE_BITS) - 1


class Rules(NamedTuple):
    """How the states of one call are folded.

    generation  of the history they are computed from, else -1
    reach_us    earliest instant to stay answerable; NEVER: it follows the newest arrival
    keep_us     pushed rows stay raw that long and make no tiles; -1: not pushed
    with_order  1 where raw rows keep created times and ids
    """

    generation: int
    reach_us: int
    keep_us: int
    with_order: int


@kernel
def fold_states(
    plan: Plan, states: States, arrived: Arrived, groups: np.ndarray, fences: np.ndarray, rules: Rules
) -> tuple[np.ndarray, np.ndarray]:
    """Fold arrived rows groups[s]:groups[s + 1] (sorted by event time) into state s, for every s.

    Returns the words of the new states, sealed, and where each begins and the last one ends.
    """
    words = np.empty(_most_words(plan, states, arrived, groups), np.int64)
    starts = np.zeros(len(groups), np.int64)
    most = _most_rows(plan, states, groups)
    rows, numbers = np.empty((most, FIXED_WORDS + plan.value_words), np.int64), np.empty((3, most), np.int64)
    room = Room(rows, rows.ravel(), numbers[0], numbers[1], numbers[2])
    out = States(words, words.view(np.float64), words.view(np.uint8), starts)
    for s in range(len(groups) - 1):
        starts[s + 1] = _fold_one(plan, states, s, arrived, groups[s], groups[s + 1], fences[s], rules, room, out, starts[s])
    return words[: starts[-1]], starts


@inlined
def _fold_one(
    plan: Plan,
    states: States,
    s: int,
    arrived: Arrived,
    begin: int,
    end: int,
    fence: int,
    rules: Rules,
    room: Room,
    out: States,
    at: int,
) -> int:
    """Fold arrived rows begin to end into state s and write it to out.words[at:]; where it ends."""
    parts, texts = parts_of(plan, states, s), Texts(states.heap, arrived.heap)
    times = _times(plan, states, parts, arrived, begin, end, rules)
    count = rows_in_order(plan, states, parts, arrived, begin, end, texts, rules.with_order, room)
    early = first_at_or_after(room.words, 0, count, room.rows.shape[1], times.cut)
    folding = Folding(plan, states, parts, texts, times, room, early if rules.keep_us < 0 else 0)

    raw = at + kept_words(plan)
    out.words[at:raw] = 0
    tiles = write_rows(room.rows, early, count, rules.with_order, out.words, raw)
    distinct = write_tiles(folding, out, tiles)
    write_lasts(folding, out, at)
    heap = write_distinct(folding, out, at, distinct)

    fixed = FIXED_WORDS if rules.with_order else UNORDERED_WORDS
    row_words, tile_count = fixed + plan.value_words, (distinct - tiles) // plan.tile_words
    written = Parts(at, fixed, row_words, raw, count - early, tiles, tile_count, distinct, 0)
    heap_bytes = write_heap(plan, written, texts, out, heap)
    _write_header(out.words, written, times, fence, rules, heap_bytes)
    end = heap + (heap_bytes + 7) // 8
    out.words[at] = seal_of(out.words, at, end)
    return end


@inlined
def _times(plan: Plan, states: States, parts: Parts, arrived: Arrived, begin: int, end: int, rules: Rules) -> Times:
    reach, newest = NEVER, NEVER
    if is_there(parts):
        reach, newest = states.words[parts.begin + REACH], states.words[parts.begin + NEWEST]
    for k in range(begin, end):
        newest = max(newest, arrived.words[k, CREATED])
    return times_of(plan, reach, newest, rules.reach_us, rules.keep_us)


@inlined
def _write_header(words: np.ndarray, written: Parts, times: Times, fence: int, rules: Rules, heap_bytes: int) -> None:
    begin = written.begin
    words[begin + FENCE], words[begin + GENERATION] = fence, rules.generation
    words[begin + REACH], words[begin + NEWEST] = times.reach, times.newest
    words[begin + WITH_ORDER], words[begin + HEAP_BYTES] = rules.with_order, heap_bytes
    words[begin + RAW_ROWS], words[begin + TILES] = written.row_count, written.tile_count


@inlined
def _most_rows(plan: Plan, states: States, groups: np.ndarray) -> int:
    """Rows that a folded state has at the most, stored and new."""
    most = 0
    for s in range(len(groups) - 1):
        most = max(most, parts_of(plan, states, s).row_count + groups[s + 1] - groups[s])
    return most


@inlined
def _most_words(plan: Plan, states: States, arrived: Arrived, groups: np.ndarray) -> int:
    """Words that the folded states can take at the most: a text may stand in its raw row and in every kind of record."""
    records = len(plan.firsts) + len(plan.lasts)
    row_words = FIXED_WORDS + plan.value_words + plan.tile_words + 2 * len(plan.distinct)
    total = 0
    for s in range(len(groups) - 1):
        stored, new = states.starts[s + 1] - states.starts[s], groups[s + 1] - groups[s]
        heap = 8 * stored
        for k in range(groups[s], groups[s + 1]):
            heap += arrived.words[k, ID] & _LENGTH
            for word in plan.texts:
                heap += arrived.words[k, FIXED_WORDS + word] & _LENGTH
        total += kept_words(plan) + stored + (new + stored) * row_words + heap * (1 + records) // 8 + 2
    return total
