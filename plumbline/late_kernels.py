"""As-known evaluation: the few events that became known after a row behind them, added to the sliding results.

An event is *late* when some row of its entity lies after its time but before its creation. All others are seen by
every later row, so the plain passes serve them. A late one enters at the first row that is not before its creation and
leaves when the window's begin passes it. Counts, integer sums and distinct values add and take away exactly; largest
values (and what plumbline.window_aggregates does) keep a tree over the entity's late events whose root is their aggregate:
O(log late) when one enters or leaves, O(1) a row.

    time        e (event)    r0      c (creation)   r1
    plain                    sees e                 sees e
    as known                 does not               sees e           e is late, because of r0
"""

from typing import NamedTuple

import numpy as np

from plumbline.compiled import inlined, kernel
from plumbline.timeline import Timeline


class Late(NamedTuple):
    """k late events of a timeline with m rows.

    entities    entities that have late events
    starts      (entities of the timeline + 1,) where each entity's late events begin
    places      (k,) positions in the timeline, rising
    entry       (k,) indices into places, by (entity, creation)
    entry_us    (k,) creation of the event at entry
    row_us, row_starts  the timeline's
    """

    entities: np.ndarray
    starts: np.ndarray
    places: np.ndarray
    entry: np.ndarray
    entry_us: np.ndarray
    row_us: np.ndarray
    row_starts: np.ndarray


def no_late(line: Timeline) -> tuple[np.ndarray, Late]:
    """The plain evaluation: no event is late."""
    nothing = np.empty(0, np.int64)
    starts = np.zeros(len(line.event_starts), np.int64)
    mask = np.zeros(len(line.event_us), np.bool_)
    return mask, Late(nothing, starts, nothing, nothing, nothing, line.row_us, line.row_starts)


def find_late(line: Timeline, created_us: np.ndarray) -> tuple[np.ndarray, Late]:
    """(n,) which events of the timeline are late, and how they enter; created_us are of the events in its order."""
    mask = _late_mask(line.event_us, created_us, line.event_starts, line.row_us, line.row_starts)
    places = np.flatnonzero(mask)
    starts = np.searchsorted(places, line.event_starts)
    sizes = np.diff(starts)
    entry = np.lexsort((created_us[places], np.repeat(np.arange(len(sizes)), sizes)))
    entry_us = created_us[places[entry]]
    return mask, Late(np.flatnonzero(sizes), starts, places, entry, entry_us, line.row_us, line.row_starts)


@kernel
def _late_mask(
    event_us: np.ndarray, created_us: np.ndarray, event_starts: np.ndarray, row_us: np.ndarray, row_starts: np.ndarray
) -> np.ndarray:
    late = np.zeros(len(event_us), np.bool_)
    for entity in range(len(row_starts) - 1):
        row, stop = row_starts[entity], row_starts[entity + 1]
        for i in range(event_starts[entity], event_starts[entity + 1]):
            while row < stop and row_us[row] <= event_us[i]:
                row += 1
            late[i] = row < stop and row_us[row] < created_us[i]
    return late


@kernel
def add_late_counts(late: Late, begins: np.ndarray, valid: np.ndarray, counts: np.ndarray) -> None:
    """Add the valid late events in each row's window to counts."""
    entered = np.zeros(len(late.places), np.bool_)
    for entity in late.entities:
        gone = waiting = late.starts[entity]
        stop = late.starts[entity + 1]
        n = 0
        for row in range(late.row_starts[entity], late.row_starts[entity + 1]):
            while gone < stop and late.places[gone] < begins[row]:
                n -= int(entered[gone])
                gone += 1
            while waiting < stop and late.entry_us[waiting] <= late.row_us[row]:
                i = late.entry[waiting]
                waiting += 1
                if i >= gone and valid[late.places[i]]:
                    entered[i] = True
                    n += 1
            counts[row] += n


@kernel
def add_late_wide(
    late: Late, begins: np.ndarray, valid: np.ndarray, values: np.ndarray, highs: np.ndarray, lows: np.ndarray
) -> None:
    """Add the late events in each row's window to 128-bit sums."""
    entered = np.zeros(len(late.places), np.bool_)
    for entity in late.entities:
        gone = waiting = late.starts[entity]
        stop = late.starts[entity + 1]
        high, low = np.int64(0), np.uint64(0)
        for row in range(late.row_starts[entity], late.row_starts[entity + 1]):
            while gone < stop and late.places[gone] < begins[row]:
                if entered[gone]:
                    value = values[late.places[gone]]
                    high -= np.int64(low < np.uint64(value)) - np.int64(value < 0)
                    low -= np.uint64(value)
                gone += 1
            while waiting < stop and late.entry_us[waiting] <= late.row_us[row]:
                i = late.entry[waiting]
                waiting += 1
                if i >= gone and valid[late.places[i]]:
                    entered[i] = True
                    value = values[late.places[i]]
                    low += np.uint64(value)
                    high += np.int64(low < np.uint64(value)) - np.int64(value < 0)
            total = lows[row] + low
            highs[row] += high + np.int64(total < low)
            lows[row] = total


@kernel
def raise_to_late_max(
    late: Late, begins: np.ndarray, valid: np.ndarray, values: np.ndarray, largest: np.ndarray, lowest: float
) -> None:
    """Raise each row's largest value to that of the late events in its window."""
    entered = np.zeros(len(late.places), np.bool_)
    for entity in late.entities:
        first, stop = late.starts[entity], late.starts[entity + 1]
        leaves = power_of_two(stop - first)
        tree = np.full(2 * leaves, lowest, values.dtype)
        gone = waiting = first
        for row in range(late.row_starts[entity], late.row_starts[entity + 1]):
            while gone < stop and late.places[gone] < begins[row]:
                if entered[gone]:
                    tree[leaves + gone - first] = lowest
                    _raise_parents(tree, leaves + gone - first)
                gone += 1
            while waiting < stop and late.entry_us[waiting] <= late.row_us[row]:
                i = late.entry[waiting]
                waiting += 1
                if i >= gone and valid[late.places[i]]:
                    entered[i] = True
                    tree[leaves + i - first] = values[late.places[i]]
                    _raise_parents(tree, leaves + i - first)
            largest[row] = max(largest[row], tree[1])


@kernel
def distinct_counts(
    codes: np.ndarray, timely: np.ndarray, late: Late, begins: np.ndarray, ends: np.ndarray, distinct: int
) -> np.ndarray:
    """(m,) how many different codes each window holds; negative codes are nulls."""
    found = np.zeros(len(begins), np.int64)
    uses = np.zeros(distinct, np.int64)
    entered = np.zeros(len(late.places), np.bool_)
    left = filled = n = 0
    for entity in range(len(late.row_starts) - 1):
        gone = waiting = late.starts[entity]
        stop = late.starts[entity + 1]
        for row in range(late.row_starts[entity], late.row_starts[entity + 1]):
            begin, end = begins[row], ends[row]
            for i in range(filled, end):
                if timely[i] and codes[i] >= 0:
                    n += int(uses[codes[i]] == 0)
                    uses[codes[i]] += 1
            filled = end
            for i in range(left, begin):
                if timely[i] and codes[i] >= 0:
                    uses[codes[i]] -= 1
                    n -= int(uses[codes[i]] == 0)
            left = begin
            while gone < stop and late.places[gone] < begin:
                if entered[gone]:
                    uses[codes[late.places[gone]]] -= 1
                    n -= int(uses[codes[late.places[gone]]] == 0)
                gone += 1
            while waiting < stop and late.entry_us[waiting] <= late.row_us[row]:
                i = late.entry[waiting]
                waiting += 1
                code = codes[late.places[i]]
                if i >= gone and code >= 0:
                    entered[i] = True
                    n += int(uses[code] == 0)
                    uses[code] += 1
            found[row] = n
        for i in range(gone, stop):
            if entered[i]:
                uses[codes[late.places[i]]] -= 1
                n -= int(uses[codes[late.places[i]]] == 0)
    return found


@inlined
def power_of_two(n: int) -> int:
    """The smallest that is not less than n."""
    power = 1
    while power < n:
        power *= 2
    return power


@inlined
def _raise_parents(tree: np.ndarray, node: int) -> None:
    while node > 1:
        node //= 2
        tree[node] = max(tree[2 * node], tree[2 * node + 1])
