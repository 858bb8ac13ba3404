"""The instants that divide a state: what is forgotten, what is tiles, what stays raw.

    oldest                     cut                          reach          newest
      | tiles, the coarser      | head: raw rows              |             |
      | the older               |                             |   HEAD_US   |
   ---[====1 d====|==1 h==|5 m|=)[. . .. . . . .. . . .  . .  . .  . . . .  . . .----> event time
                                 |  longest exact window      |
                                                              earliest instant that can still be answered

The reach follows the newest arrival, or is given, and never goes back. A window that ends at or after it begins at or after
`oldest`. A state of pushed rows has no tiles: its rows stay raw for `keep_us` and the longest window, then they are gone.
"""

from typing import NamedTuple

import numpy as np

from plumbline.compiled import inlined, kernel
from plumbline.durations import MINUTE
from plumbline.plan import Plan
from plumbline.state_words import NEVER

HEAD_US = 10 * MINUTE
"""How far before its newest arrival a state can still be read exactly; at least 5 minutes are promised."""


class Times(NamedTuple):
    """Microseconds since the epoch, UTC; newest is a created time, NEVER before anything arrived."""

    oldest: int
    cut: int
    reach: int
    newest: int


@inlined
def times_of(plan: Plan, reach: int, newest: int, given_reach: int, keep_us: int) -> Times:
    """The instants of a state that reached back to `reach`, once `newest` is its newest arrival.

    given_reach  NEVER: the reach follows the newest arrival
    keep_us      at least 0 for pushed rows
    """
    if given_reach != NEVER:
        reach = max(reach, given_reach)
    elif newest != NEVER:
        reach = max(reach, newest - HEAD_US)
    oldest = reach
    for tail in plan.all_tails:
        oldest = min(oldest, _tail_start(tail, reach))
    cut = min(oldest, newest - keep_us) if keep_us >= 0 else _cut(plan, reach)
    return Times(oldest, cut, reach, newest)


@inlined
def tile_start(plan: Plan, reach: int, at_us: int) -> int:
    """Start of the tile of an event before the cut; NEVER when no window can reach it any more.

    A window's tail will only ever be cut at multiples of its slide at or after floor(reach - window), so older tiles may be
    as coarse as the slides of the longer windows that still cut there.
    """
    width = 0
    for tail in plan.tails:
        if _tail_start(tail, reach) <= at_us:
            width = _greatest_divisor(width, tail.slide_us)
    return at_us // width * width if width else NEVER


@kernel
def first_raw(plan: Plan, reach: int) -> int:
    """Events at or after this instant are raw in a state that reaches back to `reach`."""
    return _cut(plan, reach)


@inlined
def _cut(plan: Plan, reach: int) -> int:
    """Events at or after this instant stay raw: a multiple of every slide, so that tiles begin and end with windows."""
    slide = 0
    for tail in plan.tails:
        slide = _greatest_divisor(slide, tail.slide_us)
    exact = reach - plan.longest_exact_us
    return exact // slide * slide if slide else exact


@inlined
def _tail_start(tail: np.record, end: int) -> int:
    """The first instant inside a window that ends, open, at `end`."""
    return (end - tail.window_us) // tail.slide_us * tail.slide_us


@inlined
def _greatest_divisor(a: int, b: int) -> int:
    """Greatest common divisor of two positive numbers, or the other where one is 0."""
    while b:
        a, b = b, a % b
    return a
