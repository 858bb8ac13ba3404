"""Every aggregate gives the definition's result however its events are split and ordered: a commutative monoid."""

import math

import naive
import numpy as np
import pytest
from histories import amounts, examples, prices
from hypothesis import given
from hypothesis import strategies as st

from plumbline.aggregates import ENTRIES, finalize, merge, numeric_functions, update
from plumbline.aggregates.entry import NULL, OVERFLOW

KINDS = {"integer": amounts(), "float": prices()}
CASES = [pytest.param(code, id=f"{entry.function}-{entry.kind}") for code, entry in enumerate(ENTRIES)]


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
        entry = ENTRIES[self.code]
        if found == OVERFLOW:
            return "overflow"
        is_float = entry.result == "float" or (entry.result == "column" and entry.kind == "float")
        return float(out.view(np.float64)[0]) if is_float else int(out[0])


def known(values: list) -> list:
    return [value for value in values if not naive.null(value)]


def is_result(found, function: str, values: list) -> bool:
    """Whether `found` is the definition's result; an integer sum outside int64 has none."""
    if found == "overflow":
        return not -(2**63) <= sum(values) < 2**63
    return naive.equal(found, function, values)


def test_every_function_has_its_aggregate():
    assert {*numeric_functions(), "count_distinct", "first", "last"} == set(naive.FUNCTIONS)


@pytest.mark.parametrize("code", CASES)
@given(data=st.data())
@examples(15)
def test_merging_parts_in_any_order_gives_the_result_of_the_whole(code, data):
    values = data.draw(st.lists(KINDS[ENTRIES[code].kind], max_size=20))
    shuffled = data.draw(st.permutations(values))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=3)))
    parts = [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(values)], strict=True)]

    merged = Intermediate(code)
    for part in parts:
        merged = merged.with_part(Intermediate(code).take(part))

    assert is_result(merged.result(), ENTRIES[code].function, known(values))


@pytest.mark.parametrize("code", CASES)
@given(data=st.data())
@examples(15)
def test_how_merges_are_nested_makes_no_difference(code, data):
    parts = [data.draw(st.lists(KINDS[ENTRIES[code].kind], max_size=6)) for _ in range(3)]
    a, b, c = (Intermediate(code).take(part) for part in parts)

    for nested in (a.with_part(b).with_part(c), a.with_part(b.with_part(c))):
        assert is_result(nested.result(), ENTRIES[code].function, known([*parts[0], *parts[1], *parts[2]]))


@pytest.mark.parametrize("code", CASES)
@given(data=st.data())
@examples(10)
def test_nulls_and_nothing_are_the_identity(code, data):
    one = Intermediate(code).take(data.draw(st.lists(KINDS[ENTRIES[code].kind], max_size=6)))
    nothing = Intermediate(code)

    for merged in (one.with_part(nothing), nothing.with_part(one), nothing.with_part(Intermediate(code).take([None]))):
        expected = one if merged.words.any() or not one.words.any() else nothing
        assert merged.result() == expected.result()
    assert nothing.result() == naive.result(ENTRIES[code].function, [])


def test_a_float_sum_does_not_lose_small_amounts_beside_large_ones():
    values = [1e15, *[0.06] * 100, -1e15]
    code = next(code for code, entry in enumerate(ENTRIES) if (entry.function, entry.kind) == ("sum", "float"))

    total = Intermediate(code).take(values).result()

    assert math.isclose(total, math.fsum(values), rel_tol=1e-12)
