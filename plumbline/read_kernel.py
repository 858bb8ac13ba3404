"""The compiled read: all windows of a view at one instant, from the states of many entities, one call."""

import numpy as np

from plumbline.aggregates import finalize, merge, update
from plumbline.aggregates.entry import NULL, VALUE
from plumbline.compiled import kernel
from plumbline.durations import MICROSECOND
from plumbline.layout import BYTES, FIRST, LAST, NUMERIC, PRESENCE, RECORD_WORDS
from plumbline.record_kernels import comes_before, first_at_or_after
from plumbline.state_words import HEADER_WORDS, HEAP_BYTES, RAW_ROWS, TILES, WITH_ORDER

WIDEST = 16
"""Words kept for one intermediate while it is merged."""


@kernel
def read_states(  # type: ignore[no-untyped-def]
    columns, windows, lasts, distinct, value_words, tile_words, words, words_f, heap, slots, entities, at, out, out_f, status,
    place,
):  # fmt: skip
    """Fill out[e, w] with the value of window w of entity e, whose states are words[slots[k]:slots[k + 1]] for k from
    entities[e] to entities[e + 1]; status[e, w] says NULL, VALUE or OVERFLOW.

    The value of first and last of text is the reference into the heap of the state place[e, w].
    """
    intermediate = np.zeros(WIDEST, np.int64)
    intermediate_f = intermediate.view(np.float64)
    parts = np.empty((len(slots), 6), np.int64)
    for k in range(len(slots) - 1):
        _parts_of(words, slots[k], slots[k + 1], lasts, distinct, value_words, tile_words, parts[k])
    for e in range(len(entities) - 1):
        first_slot, end_slot = entities[e], entities[e + 1]
        known = -1
        seen = np.empty(0, np.int64)
        for w in range(len(windows)):
            start = (at - windows[w, 3]) // windows[w, 4] * windows[w, 4]
            if windows[w, 0] == NUMERIC:
                status[e, w] = _numeric(
                    columns, windows[w], start, at, words, words_f, parts, first_slot, end_slot, tile_words, intermediate,
                    intermediate_f, out[e], out_f[e], w,
                )  # fmt: skip
            elif windows[w, 0] == FIRST or windows[w, 0] == LAST:
                status[e, w] = _ordered(
                    columns,
                    windows[w],
                    start,
                    at,
                    words,
                    heap,
                    parts,
                    slots,
                    first_slot,
                    end_slot,
                    tile_words,
                    out,
                    e,
                    w,
                    place,
                )
            else:
                if known != windows[w, 2]:
                    known = windows[w, 2]
                    seen = _last_seen(
                        columns, windows[w, 5], known, at, words, parts, slots, first_slot, end_slot, lasts, distinct
                    )
                count = 0
                for k in range(len(seen)):
                    count += seen[k] >= start
                out[e, w], status[e, w] = count, VALUE


@kernel
def _parts_of(words, begin, end, lasts, distinct, value_words, tile_words, parts):  # type: ignore[no-untyped-def]
    """Where the raw rows, the tiles, the distinct values and the heap (in bytes) of a state begin; words of a row; rows."""
    row_words = (4 if words[begin + WITH_ORDER] else 2) + value_words
    raw = begin + HEADER_WORDS + RECORD_WORDS * len(lasts) + len(distinct)
    parts[0] = raw
    parts[1] = raw + words[begin + RAW_ROWS] * row_words
    parts[2] = parts[1] + words[begin + TILES] * tile_words
    parts[3] = end * 8 - (words[begin + HEAP_BYTES] + 7) // 8 * 8
    parts[4] = row_words
    parts[5] = begin


@kernel
def _numeric(  # type: ignore[no-untyped-def]
    columns, window, start, at, words, words_f, parts, first_slot, end_slot, tile_words, intermediate, intermediate_f, out,
    out_f, w,
):  # fmt: skip
    code, column = window[1], window[2]
    intermediate[:] = 0
    value_word = columns[column, 1] if columns[column, 0] != PRESENCE else -1
    for k in range(first_slot, end_slot):
        raw, tiles, row_words, begin = parts[k, 0], parts[k, 1], parts[k, 4], parts[k, 5]
        if window[4] > MICROSECOND:
            count = words[begin + TILES]
            for tile in range(first_at_or_after(words, tiles, count, tile_words, start), count):
                merge(code, intermediate, intermediate_f, 0, words, words_f, tiles + tile * tile_words + window[5])
        count = words[begin + RAW_ROWS]
        fixed = 4 if words[begin + WITH_ORDER] else 2
        for row in range(first_at_or_after(words, raw, count, row_words, start), count):
            place = raw + row * row_words
            if words[place] >= at:
                break
            if (words[place + 1] >> column) & 1:
                if value_word >= 0:
                    update(
                        code,
                        intermediate,
                        intermediate_f,
                        0,
                        words[place + fixed + value_word],
                        words_f[place + fixed + value_word],
                    )
                else:
                    update(code, intermediate, intermediate_f, 0, 0, 0.0)
    return finalize(code, intermediate, intermediate_f, 0, out, out_f, w)


@kernel
def _last_seen(columns, kept, column, at, words, parts, slots, first_slot, end_slot, lasts, distinct):  # type: ignore[no-untyped-def]
    """When each value of a column was last seen before `at`, over all slots."""
    total = 0
    for k in range(first_slot, end_slot):
        total += words[parts[k, 5] + RAW_ROWS] + words[parts[k, 5] + HEADER_WORDS + RECORD_WORDS * len(lasts) + kept]
    keys, seen = np.empty(total, np.int64), np.empty(total, np.int64)
    count = 0
    word = columns[column, 2] if columns[column, 0] == BYTES else columns[column, 1]
    for k in range(first_slot, end_slot):
        raw, row_words, begin = parts[k, 0], parts[k, 4], parts[k, 5]
        counts = begin + HEADER_WORDS + RECORD_WORDS * len(lasts)
        entry = parts[k, 2]
        for i in range(kept):
            entry += 2 * words[counts + i]
        for i in range(words[counts + kept]):
            keys[count], seen[count] = words[entry + 2 * i], words[entry + 2 * i + 1]
            count += 1
        fixed = 4 if words[begin + WITH_ORDER] else 2
        for row in range(words[begin + RAW_ROWS]):
            place = raw + row * row_words
            if words[place] >= at:
                break
            if (words[place + 1] >> column) & 1:
                keys[count], seen[count] = words[place + fixed + word], words[place]
                count += 1
    ranked = np.argsort(keys[:count])
    latest = np.empty(count, np.int64)
    values = 0
    for i in range(count):
        if i and keys[ranked[i]] == keys[ranked[i - 1]]:
            latest[values - 1] = max(latest[values - 1], seen[ranked[i]])
        else:
            latest[values] = seen[ranked[i]]
            values += 1
    return latest[:values]


@kernel
def _ordered(columns, window, start, at, words, heap, parts, slots, first_slot, end_slot, tile_words, out, e, w, place):  # type: ignore[no-untyped-def]
    """First or last of a column: the best of each slot's raw rows and kept records."""
    wants_first = window[0] == FIRST
    best = np.zeros(RECORD_WORDS, np.int64)
    best_slot = -1
    candidate = np.zeros(RECORD_WORDS, np.int64)
    for k in range(first_slot, end_slot):
        _raw_candidate(columns, window, start, at, words, parts[k], candidate)
        if _is_better(wants_first, candidate, k, best, best_slot, heap, parts):
            best[:], best_slot = candidate, k
        begin = parts[k, 5]
        if not wants_first:
            record = begin + HEADER_WORDS + RECORD_WORDS * window[5]
            candidate[:] = words[record : record + RECORD_WORDS]
            candidate[0] = candidate[0] and candidate[1] >= start
            if _is_better(wants_first, candidate, k, best, best_slot, heap, parts):
                best[:], best_slot = candidate, k
        elif window[4] > MICROSECOND:
            count = words[begin + TILES]
            for tile in range(first_at_or_after(words, parts[k, 1], count, tile_words, start), count):
                record = parts[k, 1] + tile * tile_words + window[5]
                candidate[:] = words[record : record + RECORD_WORDS]
                if _is_better(wants_first, candidate, k, best, best_slot, heap, parts):
                    best[:], best_slot = candidate, k
    out[e, w], place[e, w] = best[4], best_slot
    return NULL if best_slot < 0 else VALUE


@kernel
def _raw_candidate(columns, window, start, at, words, parts, candidate):  # type: ignore[no-untyped-def]
    """The first or last raw row of [start, at) that is not null; rows are in the order of first and last."""
    candidate[0] = 0
    raw, row_words, begin = parts[0], parts[4], parts[5]
    count = words[begin + RAW_ROWS]
    low = first_at_or_after(words, raw, count, row_words, start)
    high = first_at_or_after(words, raw, count, row_words, at)
    for i in range(high - low):
        place = raw + (low + i if window[0] == FIRST else high - 1 - i) * row_words
        if (words[place + 1] >> window[2]) & 1:
            candidate[0], candidate[1], candidate[2], candidate[3] = 1, words[place], words[place + 2], words[place + 3]
            candidate[4] = words[place + 4 + columns[window[2], 1]]
            return


@kernel
def _is_better(wants_first, candidate, slot, best, best_slot, heap, parts):  # type: ignore[no-untyped-def]
    if not candidate[0]:
        return False
    if best_slot < 0:
        return True
    if wants_first:
        return comes_before(
            candidate[1],
            candidate[2],
            heap,
            parts[slot, 3],
            candidate[3],
            best[1],
            best[2],
            heap,
            parts[best_slot, 3],
            best[3],
        )
    return comes_before(
        best[1],
        best[2],
        heap,
        parts[best_slot, 3],
        best[3],
        candidate[1],
        candidate[2],
        heap,
        parts[slot, 3],
        candidate[3],
    )
