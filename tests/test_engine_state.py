"""A state is a function of the set of its events, and answers every instant it reaches as the definition does."""

import naive
import numpy as np
import pyarrow as pa
import pytest
from histories import examples
from hypothesis import given
from hypothesis import strategies as st

from plumbline.durations import DAY, HOUR, MINUTE, SECOND, window_start
from plumbline.layout import Layout
from plumbline.rows import Rows, rows_from_table
from plumbline.spec import ANY_TYPE_FUNCTIONS, FUNCTIONS, output_type
from plumbline.state import fold, window_values
from plumbline.state_pieces import FOR_EVER, Slot, settle
from plumbline.state_words import FENCE, REACH, StateUnreadable, header_word
from plumbline.value_codec import entity_bytes
from plumbline.view_spec import LogSource, ViewSpec, WindowSpec

COLUMNS = {"cents": pa.int64(), "price": pa.float64(), "country": pa.string()}
LENGTHS = [(HOUR, 1), (30 * MINUTE, MINUTE), (DAY, 5 * MINUTE), (7 * DAY, HOUR), (40 * DAY, DAY), (3 * DAY, 2 * DAY)]
NOON = 1_700_000_000 * SECOND


def layout_of(*windows: tuple[str, str, int, int]) -> Layout:
    """A layout of windows given as (column, function, window, slide)."""
    specs = [
        WindowSpec(f"{column}_{function}_{length}_{slide}", column, function, length, slide, COLUMNS[column], output)
        for column, function, length, slide in windows
        for output in [output_type(function, COLUMNS[column])]
    ]
    return Layout(ViewSpec("lab", ("card",), LogSource("log", "", "event_timestamp", None, DAY), tuple(specs)))


EVERYTHING = layout_of(
    *[(c, f, *LENGTHS[(i + j) % 6]) for i, c in enumerate(COLUMNS) for j, f in enumerate(FUNCTIONS)
      if c != "country" or f in ANY_TYPE_FUNCTIONS],
    ("country", "first", DAY, 5 * MINUTE), ("price", "std", HOUR, 1), ("country", "count_distinct", 40 * DAY, DAY),
)  # fmt: skip
EXACT = layout_of(
    ("cents", "sum", DAY, 5 * MINUTE), ("cents", "max", 7 * DAY, HOUR), ("country", "count_distinct", HOUR, 1),
    ("country", "first", DAY, 5 * MINUTE), ("country", "last", 40 * DAY, DAY),
)  # fmt: skip
"""Without floats: the same events make the same bytes."""
SPARSE = layout_of(("cents", "sum", HOUR, 1), ("country", "count_distinct", 7 * DAY, HOUR))


def squarable(price: float) -> float:
    """The price, or nothing where its square is too small for a float64."""
    return 0.0 if abs(price) < 1e-140 else price


events = st.lists(
    st.fixed_dictionaries(
        {
            "gap_us": st.sampled_from([0, 0, 1, SECOND, 5 * MINUTE, HOUR, DAY, 3 * DAY]),
            "late_us": st.sampled_from([0, 0, 0, 1, 10 * MINUTE, HOUR, 20 * HOUR]),
            "event_id": st.sampled_from(["a", "b", "ab", "c", "\u00e5"]),
            "cents": st.none() | st.integers(-5, 5) | st.integers(0, 10**12),
            "price": st.sampled_from([None, float("nan"), -0.0]) | st.floats(-100, 100).map(squarable),
            "country": st.none() | st.sampled_from(["NO", "SE", "", "\u00d8"]),
        }
    ),
    max_size=40,
)


def timed(drawn: list[dict]) -> list[dict]:
    """Events in the order they arrived, each `late_us` after it happened."""
    clock, arrived = NOON, []
    for event in drawn:
        clock += event["gap_us"]
        arrived.append({**event, "at": clock - event["late_us"], "created": clock})
    return arrived


def rows_of(layout: Layout, arrived: list[dict]) -> Rows:
    instants = {name: pa.array([e[key] for e in arrived], pa.int64()).cast(pa.timestamp("us", "UTC"))
                for name, key in (("event_timestamp", "at"), ("created_timestamp", "created"))}  # fmt: skip
    columns = {name: pa.array([e[name] for e in arrived], kind) for name, kind in {"event_id": pa.string(), **COLUMNS}.items()}
    return rows_from_table(pa.table({**instants, **columns}), layout, layout.ordered)


def folded(layout: Layout, arrived: list[dict], batches: list[int], fence: int = 0, **rules: int) -> bytes | None:
    """The state after the events, taken in batches of the given sizes and then the rest; None without events."""
    state = None
    while arrived:
        size = batches[0] if batches else len(arrived)
        batch, arrived, batches = arrived[:size], arrived[size:], batches[1:]
        fence += len(batch)
        (state,) = fold(layout, [state], rows_of(layout, batch), np.array([0, len(batch)]), [fence], **rules)
    return state


def recent_of(layout: Layout, arrived: list[dict], fence: int, batches: list[int]) -> bytes | None:
    """The recent state of events that came after `fence`."""
    return folded(layout, arrived, batches, fence, reach_us=FOR_EVER)


def expected(window: WindowSpec, arrived: list[dict], at_us: int):
    start = window_start(at_us, window.window_us, window.slide_us)
    inside = sorted(
        (e for e in arrived if start <= e["at"] < at_us), key=lambda e: (e["at"], e["created"], e["event_id"].encode())
    )
    return [e[window.column] for e in inside if not naive.null(e[window.column])]


@pytest.mark.parametrize("layout", [EVERYTHING, SPARSE], ids=["every function", "few"])
@given(drawn=events, batches=st.lists(st.integers(1, 7), max_size=12), split=st.booleans(), data=st.data())
@examples(40)
def test_windows_of_states_are_the_definition_at_every_instant_they_reach(layout, drawn, batches, split, data):
    arrived = timed(drawn)
    slots = [arrived[::2], arrived[1::2]] if split else [arrived]
    states = [folded(layout, slot, batches) for slot in slots if slot]
    reach = max([NOON, *(header_word(state, REACH) for state in states)])
    at_us = reach + data.draw(st.sampled_from([0, 1, 5 * MINUTE, HOUR, DAY, 10 * DAY, 40 * DAY]) | st.integers(0, DAY))

    values = window_values(layout, [states, []], at_us)[0]

    for window, value in zip(layout.spec.windows, values, strict=True):
        assert naive.equal(value, window.function, expected(window, arrived, at_us)), window


@given(drawn=events, one=st.lists(st.integers(1, 7), max_size=12), other=st.lists(st.integers(1, 7), max_size=12))
@examples(40)
def test_how_events_are_batched_changes_nothing_but_the_last_digits_of_floats(drawn, one, other):
    arrived = timed(drawn)

    assert folded(EXACT, arrived, one) == folded(EXACT, arrived, other)


@pytest.mark.parametrize("layout", [EVERYTHING, SPARSE], ids=["every function", "few"])
@given(drawn=events, batches=st.lists(st.integers(1, 7), max_size=12), cut=st.integers(0, 40), data=st.data())
@examples(40)
def test_windows_of_a_state_in_two_pieces_are_the_definition_and_so_are_they_once_it_has_settled(
    layout, drawn, batches, cut, data
):
    arrived = timed(drawn)
    settled, recent = folded(layout, arrived[:cut], batches), recent_of(layout, arrived[cut:], len(arrived[:cut]), batches)
    slot = Slot(settled, recent)
    reach = max([NOON, *(header_word(state, REACH) for state in slot if state)])
    at_us = reach + data.draw(st.sampled_from([0, 1, 5 * MINUTE, HOUR, DAY, 10 * DAY, 40 * DAY]) | st.integers(0, DAY))

    in_two = window_values(layout, [[state for state in slot if state]], at_us)[0]
    one = settle(layout, [slot])[0] if recent else settled

    assert not recent or header_word(one, FENCE) == len(arrived)
    for window, value in zip(layout.spec.windows, in_two, strict=True):
        assert naive.equal(value, window.function, expected(window, arrived, at_us)), window
    if one and header_word(one, REACH) <= at_us:
        for window, value in zip(layout.spec.windows, window_values(layout, [[one]], at_us)[0], strict=True):
            assert naive.equal(value, window.function, expected(window, arrived, at_us)), window


@given(drawn=events, batches=st.lists(st.integers(1, 7), max_size=12), cut=st.integers(0, 40))
@examples(40)
def test_what_has_settled_is_the_state_of_all_its_events_folded_at_once(drawn, batches, cut):
    arrived = timed(drawn)
    pieces = folded(EXACT, arrived[:cut], []), recent_of(EXACT, arrived[cut:], len(arrived[:cut]), batches)
    if pieces[1]:
        assert settle(EXACT, [Slot(*pieces)]) == [folded(EXACT, arrived, [])]


def test_any_flipped_bit_of_a_state_is_noticed():
    state = folded(
        SPARSE, timed([{"gap_us": 0, "late_us": 0, "event_id": "a", "cents": 7, "price": None, "country": "NO"}]), []
    )

    for place in range(len(state)):
        damaged = state[:place] + bytes([state[place] ^ 1]) + state[place + 1 :]
        with pytest.raises(StateUnreadable):
            window_values(SPARSE, [[damaged]], NOON + HOUR)


def test_a_whole_float_key_is_the_integer_a_nan_is_null_and_more_than_int64_is_refused():
    assert entity_bytes(["k"], [[2.0]]) == entity_bytes(["k"], [[2]])
    assert entity_bytes(["k"], [[float("nan")]]) == [None]
    with pytest.raises(ValueError, match="9223372036854775808 leaves int64"):
        entity_bytes(["k"], [[2**63]])
