"""What a feature means: the definition as plain loops over lists of dicts, slow on purpose and so plain that it needs no test.

An event is a dict of its join keys and payload columns, `event_timestamp` and `created_timestamp` in whole microseconds
since 1970 (UTC), `event_id`, and `source_partition` and `source_offset`, which are None (or absent) for history.
Durations and instants are whole microseconds too. Sums are Python integers or fractions, so they are exact.
"""

from decimal import Decimal, localcontext
from fractions import Fraction
from math import isfinite, isnan

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

FUNCTIONS = ("count", "sum", "mean", "min", "max", "std", "count_distinct", "first", "last")
ANY_TYPE_FUNCTIONS = ("count", "count_distinct", "first", "last")
INT64 = range(-(2**63), 2**63)


def default_slide(window):
    """The tail's resolution where none was declared."""
    if window <= HOUR:
        return 1
    if window <= 2 * DAY:
        return 5 * MINUTE
    return HOUR if window <= 30 * DAY else DAY


def start(at, window, slide):
    """The first instant inside a window that ends, open, at `at`."""
    return (at - window) // slide * slide


def accepted(events, allowed_lateness):
    """The events that count, in the order given: not refused, not too late, not delivered before. History always counts."""
    claims = []
    for event in sorted((e for e in events if streamed(e)), key=lambda e: e["source_offset"]):
        if refused(event) or too_late(event, allowed_lateness):
            continue
        if not any(duplicate(event, claim, allowed_lateness) for claim in claims):
            claims.append(event)
    return [e for e in events if not streamed(e) or any(e is claim for claim in claims)]


def streamed(event):
    return event.get("source_partition") is not None


def refused(event):
    """Dated more than five minutes ahead of its append time."""
    return event["event_timestamp"] - event["created_timestamp"] > 5 * MINUTE


def too_late(event, allowed_lateness):
    """Reached the topic more than the allowed lateness after its time."""
    return event["created_timestamp"] - event["event_timestamp"] > allowed_lateness


def duplicate(event, claim, allowed_lateness):
    """Whether `claim`, accepted at a smaller offset, already is this event."""
    return (
        event.get("event_id") is not None
        and claim["event_id"] == event["event_id"]
        and claim["source_partition"] == event["source_partition"]
        and claim["source_offset"] < event["source_offset"]
        and claim["event_timestamp"] + allowed_lateness >= event["created_timestamp"]
    )


def inputs(column, window, slide, events, key, at, as_known=False):
    """The non-null values of `column` in [floor(at - window, slide), at) for one entity, oldest first.

    key is a dict of all join keys; one that holds a None is no entity and has no events.
    as_known leaves out what was created after `at`.
    """
    found = []
    for event in sorted(events, key=age):
        if None in key.values() or any(event[name] != value for name, value in key.items()):
            continue
        if not start(at, window, slide) <= event["event_timestamp"] < at:
            continue
        if as_known and event["created_timestamp"] > at:
            continue
        if not null(event[column]):
            found.append(event[column])
    return found


def age(event):
    """What first and last order by."""
    return event["event_timestamp"], event["created_timestamp"], event.get("event_id", "")


def null(value):
    return value is None or (isinstance(value, float) and isnan(value))


def result(function, values):
    """A function of non-null values, oldest first. Floats are taken as the exact fractions that they are."""
    if function == "count":
        return len(values)
    if function == "count_distinct":
        return len(set(values))
    if function == "sum":
        return total(values)
    if function == "std":
        return std(values)
    if not values:
        return None
    if function == "mean":
        return float(total(values)) / float(len(values)) if whole(values) else total(values) / len(values)
    return {"min": min, "max": max, "first": lambda v: v[0], "last": lambda v: v[-1]}[function](values)


def value(function, column, window, slide, events, key, at, as_known=False):
    """A windowed feature at `at`, from accepted events."""
    return result(function, inputs(column, window, slide, events, key, at, as_known))


def whole(values):
    return all(isinstance(v, int) for v in values)


def total(values):
    return sum(values) if whole(values) else sum(Fraction(v) for v in values)


def std(values):
    """Sample standard deviation to 50 digits; None below two values."""
    if len(values) < 2:
        return None
    mean = Fraction(sum(Fraction(v) for v in values), len(values))
    variance = sum((Fraction(v) - mean) ** 2 for v in values) / (len(values) - 1)
    with localcontext() as context:
        context.prec = 50
        return (Decimal(variance.numerator) / Decimal(variance.denominator)).sqrt()


def equal(got, function, values):
    """Whether `got` is the function of these values, by the rules for exact and for float features."""
    expected = result(function, values)
    if got is None or expected is None:
        return got is None and expected is None
    if function == "std":
        return near(got, expected, 3e-15 * max(abs(float(v)) for v in values))
    if function in ("sum", "mean") and not whole(values):
        return near(got, expected, 1e-15 * float(sum(abs(Fraction(v)) for v in values)))
    return got == expected


def near(got, expected, absolute):
    """Within 1e-9 relative or the absolute allowance (infinities and NaN are near nothing)."""
    if not isfinite(got):
        return False
    return abs(Fraction(got) - Fraction(expected)) <= max(Fraction(1e-9) * abs(Fraction(expected)), Fraction(absolute))


def newest(events, key, at, ttl, as_known=False):
    """A slowly changing view: the newest row at or before `at` and no older than ttl (0: for ever), or None."""
    rows = []
    for event in events:
        if None in key.values() or any(event[name] != value for name, value in key.items()):
            continue
        if event["event_timestamp"] > at or (as_known and event["created_timestamp"] > at):
            continue
        if ttl == 0 or at - event["event_timestamp"] <= ttl:
            rows.append(event)
    return max(rows, key=lambda e: (e["event_timestamp"], e["created_timestamp"]), default=None)
