"""Compiled comparison of events: by time, created time, and the bytes of the id."""

from plumbline.compiled import kernel
from plumbline.state_words import REFERENCE_BITS

_LENGTH = (1 << REFERENCE_BITS) - 1


@kernel
def less_bytes(a_heap, a_base, a_ref, b_heap, b_base, b_ref):  # type: ignore[no-untyped-def]
    """Whether the bytes that a_ref refers to come before those of b_ref."""
    a_length, b_length = a_ref & _LENGTH, b_ref & _LENGTH
    a, b = a_base + (a_ref >> REFERENCE_BITS), b_base + (b_ref >> REFERENCE_BITS)
    for k in range(min(a_length, b_length)):
        if a_heap[a + k] != b_heap[b + k]:
            return a_heap[a + k] < b_heap[b + k]
    return a_length < b_length


@kernel
def comes_before(a_at, a_created, a_heap, a_base, a_id, b_at, b_created, b_heap, b_base, b_id):  # type: ignore[no-untyped-def]
    """The order of first and last; equal events are not before each other."""
    if a_at != b_at:
        return a_at < b_at
    if a_created != b_created:
        return a_created < b_created
    return less_bytes(a_heap, a_base, a_id, b_heap, b_base, b_id)


@kernel
def greatest_divisor(a, b):  # type: ignore[no-untyped-def]
    """Greatest common divisor of two positive numbers, or the other where one is 0."""
    while b:
        a, b = b, a % b
    return a


@kernel
def first_at_or_after(words, base, count, width, at):  # type: ignore[no-untyped-def]
    """Index of the first of `count` rows of `width` words whose first word is at or after `at`."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if words[base + middle * width] < at:
            low = middle + 1
        else:
            high = middle
    return low
