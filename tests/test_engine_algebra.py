"""Every aggregate gives one result however its events are split and ordered: a commutative monoid; and the definition's."""

import math

import naive
import numpy as np
import pytest
from histories import amounts, examples, prices
from hypothesis import given
from hypothesis import strategies as st

from plumbline.aggregates import ENTRIES, finalize, merge, registered_functions, update
from plumbline.aggregates.entry import NULL, OVERFLOW

KINDS = {"integer": amounts(), "float": prices()}
REGISTERED = [pytest.param(code, id=f"{entry.function}-{entry.kind}") for code, entry in enumerate(ENTRIES)]
DEFINED = [case for case in REGISTERED if ENTRIES[case.values[0]].function in naive.FUNCTIONS]


class Intermediate:
    """One intermediate of one aggregate; what the kernels keep in the words of a state."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.words = np.zeros(ENTRIES[code].width, dtype=np.int64)

    def take(self, values: list) -> "Intermediate":
        for value in known(values):
            x, y = (value, 0.0) if ENTRIES[self.code].kind == "integer" else (0, value)
            update(self.code, self.words, self.words.view(np.float64), 0, x, y)
        return self

    def with_part(self, other: "Intermediate") -> "Intermediate":
        together = Intermediate(self.code)
        for part in (self, other):
            merge(self.code, together.words, together.words.view(np.float64), 0, part.words, part.words.view(np.float64), 0)
        return together

    def result(self):
        out = np.zeros(1, dtype=np.int64)
        found = finalize(self.code, self.words, self.words.view(np.float64), 0, out, out.view(np.float64), 0)
        if found == NULL:
            return None
        if found == OVERFLOW:
            return "overflow"
        return float(out.view(np.float64)[0]) if ENTRIES[self.code].is_float else int(out[0])


def whole(code: int, values: list) -> Intermediate:
    return Intermediate(code).take(values)


def known(values: list) -> list:
    return [value for value in values if not naive.null(value)]


def same(one, other, values: list) -> bool:
    """Equal, but for the last digits of floats: 1e-9 relative, or 1e-15 of the sum of magnitudes."""
    if not isinstance(one, float) or not isinstance(other, float):
        return one == other
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-15 * sum(abs(float(value)) for value in known(values)))


def is_defined(found, function: str, values: list) -> bool:
    """Whether `found` is the definition's result; an integer sum outside int64 has none."""
    if found == "overflow":
        return not -(2**63) <= sum(values) < 2**63
    return naive.equal(found, function, values)


def test_every_function_of_the_definition_has_its_aggregate():
    assert {*registered_functions(), "count_distinct", "first", "last"} >= set(naive.FUNCTIONS)


@pytest.mark.parametrize("code", REGISTERED)
@given(data=st.data())
@examples(15)
def test_the_parts_of_any_split_merge_into_the_whole(code, data):
    values = data.draw(st.lists(KINDS[ENTRIES[code].kind], max_size=20))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=3)))

    merged = Intermediate(code)
    for a, b in zip([0, *cuts], [*cuts, len(values)], strict=True):
        merged = merged.with_part(whole(code, values[a:b]))

    assert same(merged.result(), whole(code, values).result(), values)


@pytest.mark.parametrize("code", REGISTERED)
@given(data=st.data())
@examples(15)
def test_the_order_in_which_values_are_taken_in_makes_no_difference(code, data):
    values = data.draw(st.lists(KINDS[ENTRIES[code].kind], max_size=20))
    shuffled = data.draw(st.permutations(values))

    assert same(whole(code, shuffled).result(), whole(code, values).result(), values)


@pytest.mark.parametrize("code", REGISTERED)
@given(data=st.data())
@examples(15)
def test_how_merges_are_nested_and_ordered_makes_no_difference(code, data):
    parts = [data.draw(st.lists(KINDS[ENTRIES[code].kind], max_size=6)) for _ in range(3)]
    a, b, c = (whole(code, part) for part in parts)
    values = [*parts[0], *parts[1], *parts[2]]

    for nested in (a.with_part(b.with_part(c)), c.with_part(b.with_part(a)), b.with_part(a).with_part(c)):
        assert same(nested.result(), a.with_part(b).with_part(c).result(), values)


@pytest.mark.parametrize("code", REGISTERED)
@given(data=st.data())
@examples(10)
def test_nothing_is_the_identity_and_so_are_nulls(code, data):
    values = data.draw(st.lists(KINDS[ENTRIES[code].kind], max_size=6))
    one, nothing, null = whole(code, values), Intermediate(code), whole(code, [None])

    for merged in (one.with_part(nothing), nothing.with_part(one), one.with_part(null)):
        assert merged.result() == one.result()
    assert null.result() == nothing.result()


@pytest.mark.parametrize("code", DEFINED)
@given(data=st.data())
@examples(15)
def test_parts_merged_in_any_order_give_the_definition(code, data):
    values = data.draw(st.lists(KINDS[ENTRIES[code].kind], max_size=20))
    shuffled = data.draw(st.permutations(values))
    cut = data.draw(st.integers(0, len(values)))

    merged = whole(code, shuffled[cut:]).with_part(whole(code, shuffled[:cut]))

    assert is_defined(merged.result(), ENTRIES[code].function, known(values))


@pytest.mark.parametrize("code", DEFINED)
def test_nothing_gives_what_the_definition_gives(code):
    assert Intermediate(code).result() == naive.result(ENTRIES[code].function, [])


def test_a_float_sum_does_not_lose_small_amounts_beside_large_ones():
    values = [1e15, *[0.06] * 100, -1e15]
    code = next(code for code, entry in enumerate(ENTRIES) if (entry.function, entry.kind) == ("sum", "float"))

    total = whole(code, values).result()

    assert math.isclose(total, math.fsum(values), rel_tol=1e-12)
