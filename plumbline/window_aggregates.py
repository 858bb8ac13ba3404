"""Any registered aggregate over a timeline: the update, merge and finalize of tiles and reads, slid with two stacks.

Row i's window is the run [begins[i], ends[i]) of the events; both never fall from one row to the next. Aggregates of suffixes
stand in front, a running one behind (Tangwongsan, Hirzel, Schneider, Wu, "General incremental sliding-window aggregation",
VLDB 2015), so nothing is ever subtracted and each event costs O(1), amortised:

    events   [ . . . | . . . . . . . | . . . . )          front[i] aggregates [i, middle)
               begin ^        middle ^         ^ filled   back     aggregates [middle, filled)

Late events of an entity stand in a tree whose root is their aggregate: O(log late) when one enters or leaves, O(1) a row.
Intermediates lie one after the other in words, seen as int64 and as float64 (plumbline.aggregates).
"""

import numpy as np

from plumbline.aggregates import finalize, merge, update
from plumbline.compiled import inlined, kernel
from plumbline.late_kernels import Late, power_of_two


@kernel
def slide(
    code: int, width: int, x: np.ndarray, y: np.ndarray, seen: np.ndarray, begins: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """(m * width,) intermediates of the events in each row's window that are seen; x and y are their (n,) values."""
    parts, front, back = np.zeros(len(begins) * width, np.int64), np.empty(len(x) * width, np.int64), np.zeros(width, np.int64)
    parts_f, back_f = parts.view(np.float64), back.view(np.float64)
    middle = filled = 0
    for row in range(len(begins)):
        begin, end = begins[row], ends[row]
        if begin >= filled:
            middle = filled = begin
            back[:] = 0
        for i in range(filled, end):
            if seen[i]:
                update(code, back, back_f, 0, x[i], y[i])
        filled = end
        if begin > middle:
            back[:] = 0
            for i in range(filled - 1, begin - 1, -1):
                if seen[i]:
                    update(code, back, back_f, 0, x[i], y[i])
                _copy(back, 0, front, i * width, width)
            middle = filled
            back[:] = 0
        if begin < middle:
            _copy(front, begin * width, parts, row * width, width)
        merge(code, parts, parts_f, row * width, back, back_f, 0)
    return parts


@kernel
def merge_late(
    code: int, width: int, late: Late, begins: np.ndarray, x: np.ndarray, y: np.ndarray, valid: np.ndarray, parts: np.ndarray
) -> None:
    """Merge the valid late events in each row's window into its intermediate."""
    parts_f = parts.view(np.float64)
    entered = np.zeros(len(late.places), np.bool_)
    for entity in late.entities:
        first, stop = late.starts[entity], late.starts[entity + 1]
        leaves = power_of_two(stop - first)
        tree = np.zeros(2 * leaves * width, np.int64)
        tree_f = tree.view(np.float64)
        gone = waiting = first
        for row in range(late.row_starts[entity], late.row_starts[entity + 1]):
            while gone < stop and late.places[gone] < begins[row]:
                if entered[gone]:
                    tree[(leaves + gone - first) * width : (leaves + gone - first + 1) * width] = 0
                    _merge_parents(code, width, tree, tree_f, leaves + gone - first)
                gone += 1
            while waiting < stop and late.entry_us[waiting] <= late.row_us[row]:
                i = late.entry[waiting]
                place = late.places[i]
                waiting += 1
                if i >= gone and valid[place]:
                    entered[i] = True
                    update(code, tree, tree_f, (leaves + i - first) * width, x[place], y[place])
                    _merge_parents(code, width, tree, tree_f, leaves + i - first)
            merge(code, parts, parts_f, row * width, tree, tree_f, width)


@kernel
def finish(code: int, width: int, parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(m,) words of the results, and what each is: NULL, VALUE or OVERFLOW."""
    rows = len(parts) // width
    values, found = np.zeros(rows, np.int64), np.empty(rows, np.uint8)
    values_f, parts_f = values.view(np.float64), parts.view(np.float64)
    for row in range(rows):
        found[row] = finalize(code, parts, parts_f, row * width, values, values_f, row)
    return values, found


@inlined
def _merge_parents(code: int, width: int, tree: np.ndarray, tree_f: np.ndarray, node: int) -> None:
    while node > 1:
        node //= 2
        tree[node * width : (node + 1) * width] = 0
        for child in (2 * node, 2 * node + 1):
            merge(code, tree, tree_f, node * width, tree, tree_f, child * width)


@inlined
def _copy(source: np.ndarray, i: int, target: np.ndarray, j: int, width: int) -> None:
    for word in range(width):
        target[j + word] = source[i + word]
