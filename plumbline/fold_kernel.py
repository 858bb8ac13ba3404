"""The compiled fold: new rows of many entities into their states, one call a view.

For each state: old and new rows in one order -> those before the cut leave the head -> old tiles and leaving rows merge into
the tiles that are right for the new reach -> lasts and distinct values take in the leaving rows -> everything is written out
with a fresh heap. The result is a function of the set of events, not of the batches they came in.
"""

import numpy as np

from plumbline.aggregates import merge, update
from plumbline.compiled import kernel
from plumbline.layout import BYTES, HEAD_US, PRESENCE, RECORD_WORDS
from plumbline.record_kernels import comes_before, greatest_divisor
from plumbline.state_words import (
    FENCE,
    GENERATION,
    HEADER_WORDS,
    HEAP_BYTES,
    NEVER,
    NEWEST,
    RAW_ROWS,
    REACH,
    REFERENCE_BITS,
    TILES,
    WITH_ORDER,
)

_LENGTH = (1 << REFERENCE_BITS) - 1
_FROM_NEW = 1 << 62
"""Marks a reference into the heap of the new rows until it is copied."""

NEW_FIXED = 4
"""Words of a new row before its values: event time, validity, created time, id."""


@kernel
def capacity(columns, rows, old_start, groups, row_words, tile_words, distinct, records):  # type: ignore[no-untyped-def]
    """Words that the folded states can take at the most, and bytes of the largest heap.

    A text may stand in its raw row, or in `records` records of firsts and lasts.
    """
    total, largest_heap = 0, 0
    for s in range(len(groups) - 1):
        old, count = old_start[s + 1] - old_start[s], groups[s + 1] - groups[s]
        heap = 8 * old
        for r in range(groups[s], groups[s + 1]):
            heap += rows[r, 3] & _LENGTH
            for c in range(len(columns)):
                if columns[c, 0] == BYTES and columns[c, 1] >= 0:
                    heap += rows[r, NEW_FIXED + columns[c, 1]] & _LENGTH
        heap *= 1 + records
        kept = HEADER_WORDS + RECORD_WORDS * (records + 1) + distinct
        total += kept + old + (count + old) * (row_words + tile_words + 2 * distinct) + heap // 8 + 2
        largest_heap = max(largest_heap, heap)
    return total, largest_heap


@kernel
def fold_states(  # type: ignore[no-untyped-def]
    columns, tiled, firsts, lasts, distinct, tails, all_tails, longest_exact_us, value_words, tile_words, first_word,
    old, old_f, old_bytes, old_start, rows, rows_f, new_heap, groups, fences, generations, reaches, with_order, keep_us,
    out, out_f, out_bytes, out_start, scratch,
):  # fmt: skip
    """Fold rows[groups[s]:groups[s + 1]] (sorted by event time) into state old[old_start[s]:old_start[s + 1]], for every s.

    reaches[s] NEVER: the reach follows the newest arrival. keep_us >= 0: rows stay raw that long and make no tiles (pushed
    rows). Writes out[out_start[s]:out_start[s + 1]].
    """
    position = 0
    for s in range(len(groups) - 1):
        out_start[s] = position
        position = _fold_one(
            columns, tiled, firsts, lasts, distinct, tails, all_tails, longest_exact_us, value_words, tile_words, first_word,
            old, old_f, old_bytes, old_start[s], old_start[s + 1] - old_start[s], rows, rows_f, new_heap, groups[s],
            groups[s + 1],
            fences[s], generations[s], reaches[s], with_order, keep_us, out, out_f, out_bytes, position, scratch,
        )  # fmt: skip
    out_start[len(groups) - 1] = position


@kernel
def _fold_one(  # type: ignore[no-untyped-def]
    columns, tiled, firsts, lasts, distinct, tails, all_tails, longest_exact_us, value_words, tile_words, first_word,
    old, old_f, old_bytes, base, old_words, rows, rows_f, new_heap, begin, end, fence, generation, given_reach, with_order,
    keep_us, out, out_f, out_bytes, position, scratch,
):  # fmt: skip
    row_words = (4 if with_order else 2) + value_words
    kept_words = HEADER_WORDS + RECORD_WORDS * len(lasts) + len(distinct)
    old_rows, old_tiles, reach, newest = 0, 0, NEVER, NEVER
    if old_words:
        old_rows, old_tiles = old[base + RAW_ROWS], old[base + TILES]
        reach, newest = old[base + REACH], old[base + NEWEST]
    raw_base = base + kept_words
    tile_base = raw_base + old_rows * row_words
    distinct_base = tile_base + old_tiles * tile_words
    heap_base = (base + old_words) * 8
    if old_words:
        heap_base -= (old[base + HEAP_BYTES] + 7) // 8 * 8
    for r in range(begin, end):
        newest = max(newest, rows[r, 2])
    if given_reach != NEVER:
        reach = max(reach, given_reach)
    elif newest != NEVER:
        reach = max(reach, newest - HEAD_US)
    order = _in_order(old, old_bytes, raw_base, old_rows, row_words, heap_base, rows, new_heap, begin, end, with_order)
    oldest = _oldest(all_tails, reach)
    border = min(oldest, newest - keep_us) if keep_us >= 0 else _cut(tails, longest_exact_us, reach)
    leaving = 0
    while leaving < len(order) and _event_time(order[leaving], old, raw_base, row_words, rows, begin) < border:
        leaving += 1

    # header, raw rows
    out[position : position + kept_words] = 0
    heap = 0
    at = position + kept_words
    for k in range(leaving, len(order)):
        heap = _write_row(
            order[k], columns, old, old_bytes, raw_base, row_words, heap_base, rows, new_heap, begin, with_order, value_words,
            out, at, scratch, heap,
        )  # fmt: skip
        at += row_words

    # tiles
    tiles_at = at
    if keep_us < 0:
        at = _write_tiles(
            order, leaving, columns, tiled, firsts, tails, reach, tile_words, first_word, old, old_f, old_bytes, raw_base,
            row_words,
            tile_base, old_tiles, heap_base, rows, rows_f, new_heap, begin, with_order, out, out_f, tiles_at,
        )  # fmt: skip
        for tile in range(tiles_at, at, tile_words):
            for i in range(len(firsts)):
                heap = _copy_record(
                    columns[firsts[i], 0],
                    old_bytes,
                    heap_base,
                    new_heap,
                    out,
                    tile + first_word + i * RECORD_WORDS,
                    scratch,
                    heap,
                )
    tile_count = (at - tiles_at) // tile_words

    # lasts, distinct
    for i in range(len(lasts)):
        place = position + HEADER_WORDS + i * RECORD_WORDS
        if old_words:
            out[place : place + RECORD_WORDS] = old[
                base + HEADER_WORDS + i * RECORD_WORDS : base + HEADER_WORDS + (i + 1) * RECORD_WORDS
            ]
        if keep_us < 0:
            _take_last(
                order,
                leaving,
                columns,
                lasts[i],
                old,
                old_bytes,
                raw_base,
                row_words,
                heap_base,
                rows,
                new_heap,
                begin,
                with_order,
                out,
                place,
            )
        if out[place] and out[place + 1] < oldest:
            out[place : place + RECORD_WORDS] = 0
        heap = _copy_record(columns[lasts[i], 0], old_bytes, heap_base, new_heap, out, place, scratch, heap)
    counts = position + HEADER_WORDS + RECORD_WORDS * len(lasts)
    for i in range(len(distinct)):
        old_count = old[base + HEADER_WORDS + RECORD_WORDS * len(lasts) + i] if old_words else 0
        chosen = leaving if keep_us < 0 else 0
        written = _write_distinct(
            order, chosen, columns, distinct[i], old, old_f, distinct_base, old_count, raw_base, row_words, rows, rows_f, begin,
            with_order, oldest, out, at,
        )  # fmt: skip
        distinct_base += 2 * old_count
        out[counts + i] = written
        at += 2 * written

    padded = (heap + 7) // 8
    if padded:
        out[at + padded - 1] = 0
    for k in range(heap):
        out_bytes[at * 8 + k] = scratch[k]
    at += padded
    out[position + FENCE], out[position + GENERATION], out[position + REACH] = fence, generation, reach
    out[position + NEWEST], out[position + WITH_ORDER], out[position + HEAP_BYTES] = newest, with_order, heap
    out[position + RAW_ROWS], out[position + TILES] = len(order) - leaving, tile_count
    return at


@kernel
def _in_order(old, old_bytes, raw_base, old_rows, row_words, heap_base, rows, new_heap, begin, end, with_order):  # type: ignore[no-untyped-def]
    """Old rows (index >= 0) and new ones (-1 - index from begin), sorted; each new row is inserted from the end."""
    order = np.empty(old_rows + end - begin, np.int64)
    for k in range(old_rows):
        order[k] = k
    count = old_rows
    for r in range(begin, end):
        k = count
        while k > 0 and _is_before(
            r, order[k - 1], old, old_bytes, raw_base, row_words, heap_base, rows, new_heap, begin, with_order
        ):
            order[k] = order[k - 1]
            k -= 1
        order[k] = -1 - (r - begin)
        count += 1
    return order


@kernel
def _is_before(r, other, old, old_bytes, raw_base, row_words, heap_base, rows, new_heap, begin, with_order):  # type: ignore[no-untyped-def]
    """Whether new row r comes before another; among equals the one that came first stays first."""
    if not with_order:
        return rows[r, 0] < _event_time(other, old, raw_base, row_words, rows, begin)
    if other < 0:
        o = begin - 1 - other
        return comes_before(rows[r, 0], rows[r, 2], new_heap, 0, rows[r, 3], rows[o, 0], rows[o, 2], new_heap, 0, rows[o, 3])
    o = raw_base + other * row_words
    return comes_before(rows[r, 0], rows[r, 2], new_heap, 0, rows[r, 3], old[o], old[o + 2], old_bytes, heap_base, old[o + 3])


@kernel
def _event_time(index, old, raw_base, row_words, rows, begin):  # type: ignore[no-untyped-def]
    return rows[begin - 1 - index, 0] if index < 0 else old[raw_base + index * row_words]


@kernel
def _valid(index, column, old, raw_base, row_words, rows, begin):  # type: ignore[no-untyped-def]
    bits = rows[begin - 1 - index, 1] if index < 0 else old[raw_base + index * row_words + 1]
    return (bits >> column) & 1


@kernel
def _cut(tails, longest_exact_us, reach):  # type: ignore[no-untyped-def]
    """Events at or after this instant stay raw: a multiple of every slide, so that tiles begin and end with windows."""
    slide = 0
    for t in range(len(tails)):
        slide = greatest_divisor(slide, tails[t, 1])
    return (reach - longest_exact_us) // slide * slide if slide else reach - longest_exact_us


@kernel
def _oldest(all_tails, reach):  # type: ignore[no-untyped-def]
    oldest = reach
    for t in range(len(all_tails)):
        oldest = min(oldest, (reach - all_tails[t, 0]) // all_tails[t, 1] * all_tails[t, 1])
    return oldest


@kernel
def _tile_start(tails, reach, at):  # type: ignore[no-untyped-def]
    """Start of the tile of an event before the cut; NEVER when no window can reach it any more.

    A window's tail will only ever be cut at multiples of its slide at or after floor(reach - window), so older tiles may be
    as coarse as the slides of the longer windows that still cut there.
    """
    width = 0
    for t in range(len(tails)):
        if (reach - tails[t, 0]) // tails[t, 1] * tails[t, 1] <= at:
            width = greatest_divisor(width, tails[t, 1])
    return at // width * width if width else NEVER


@kernel
def _copy_bytes(reference, old_bytes, heap_base, new_heap, scratch, heap):  # type: ignore[no-untyped-def]
    """Copy what a reference refers to behind the heap written so far; the caller makes the new reference."""
    length = reference & _LENGTH
    offset = (reference & ~_FROM_NEW) >> REFERENCE_BITS
    if reference & _FROM_NEW:
        for k in range(length):
            scratch[heap + k] = new_heap[offset + k]
    else:
        for k in range(length):
            scratch[heap + k] = old_bytes[heap_base + offset + k]
    return heap + length


@kernel
def _copy_record(storage, old_bytes, heap_base, new_heap, out, place, scratch, heap):  # type: ignore[no-untyped-def]
    """Give a record's id (and text) a place in the new heap."""
    if not out[place]:
        return heap
    reference, out[place + 3] = out[place + 3], (heap << REFERENCE_BITS) | (out[place + 3] & _LENGTH)
    heap = _copy_bytes(reference, old_bytes, heap_base, new_heap, scratch, heap)
    if storage == BYTES:
        reference, out[place + 4] = out[place + 4], (heap << REFERENCE_BITS) | (out[place + 4] & _LENGTH)
        heap = _copy_bytes(reference, old_bytes, heap_base, new_heap, scratch, heap)
    return heap


@kernel
def _write_row(  # type: ignore[no-untyped-def]
    index, columns, old, old_bytes, raw_base, row_words, heap_base, rows, new_heap, begin, with_order, value_words, out, at,
    scratch,
    heap,
):  # fmt: skip
    fixed = 4 if with_order else 2
    mark = 0
    if index < 0:
        mark = _FROM_NEW
        r = begin - 1 - index
        for k in range(fixed):
            out[at + k] = rows[r, k]
        for k in range(value_words):
            out[at + fixed + k] = rows[r, NEW_FIXED + k]
    else:
        o = raw_base + index * row_words
        for k in range(row_words):
            out[at + k] = old[o + k]
    if with_order:
        reference = out[at + 3]
        out[at + 3] = (heap << REFERENCE_BITS) | (reference & _LENGTH)
        heap = _copy_bytes(reference | mark, old_bytes, heap_base, new_heap, scratch, heap)
    for c in range(len(columns)):
        if columns[c, 0] == BYTES and columns[c, 1] >= 0:
            reference = out[at + fixed + columns[c, 1]]
            out[at + fixed + columns[c, 1]] = (heap << REFERENCE_BITS) | (reference & _LENGTH)
            heap = _copy_bytes(reference | mark, old_bytes, heap_base, new_heap, scratch, heap)
    return heap


@kernel
def _write_tiles(  # type: ignore[no-untyped-def]
    order, leaving, columns, tiled, firsts, tails, reach, tile_words, first_word, old, old_f, old_bytes, raw_base, row_words,
    tile_base, old_tiles, heap_base, rows, rows_f, new_heap, begin, with_order, out, out_f, tiles_at,
):  # fmt: skip
    """Old tiles and leaving rows, both in order of time, merged into tiles in order of their start; where the tiles end."""
    at = tiles_at
    tile, row = 0, 0
    while tile < old_tiles or row < leaving:
        tile_to, row_to = NEVER, NEVER
        if tile < old_tiles:
            tile_to = _tile_start(tails, reach, old[tile_base + tile * tile_words])
        if row < leaving:
            row_to = _tile_start(tails, reach, _event_time(order[row], old, raw_base, row_words, rows, begin))
        take_tile = tile < old_tiles and (row >= leaving or tile_to <= row_to)
        start = tile_to if take_tile else row_to
        if start != NEVER:
            if at == tiles_at or out[at - tile_words] != start:
                out[at : at + tile_words] = 0
                out[at] = start
                at += tile_words
            into = at - tile_words
            if take_tile:
                source = tile_base + tile * tile_words
                for a in range(len(tiled)):
                    merge(tiled[a, 0], out, out_f, into + tiled[a, 2], old, old_f, source + tiled[a, 2])
                for i in range(len(firsts)):
                    record = source + first_word + i * RECORD_WORDS
                    if old[record]:
                        _keep_first(
                            old[record + 1], old[record + 2], old[record + 3], old[record + 4],
                            out, into + first_word + i * RECORD_WORDS, old_bytes, heap_base, new_heap,
                        )  # fmt: skip
            else:
                _row_into_tile(
                    order[row], columns, tiled, firsts, first_word, old, old_f, old_bytes, raw_base, row_words, heap_base,
                    rows, rows_f,
                    new_heap, begin, with_order, out, out_f, into,
                )  # fmt: skip
        if take_tile:
            tile += 1
        else:
            row += 1
    return at


@kernel
def _row_into_tile(  # type: ignore[no-untyped-def]
    index, columns, tiled, firsts, first_word, old, old_f, old_bytes, raw_base, row_words, heap_base, rows, rows_f, new_heap,
    begin,
    with_order, out, out_f, into,
):  # fmt: skip
    for a in range(len(tiled)):
        column = tiled[a, 1]
        if not _valid(index, column, old, raw_base, row_words, rows, begin):
            continue
        x, y = 0, 0.0
        if columns[column, 0] != PRESENCE and columns[column, 1] >= 0:
            if index < 0:
                x = rows[begin - 1 - index, NEW_FIXED + columns[column, 1]]
                y = rows_f[begin - 1 - index, NEW_FIXED + columns[column, 1]]
            else:
                word = raw_base + index * row_words + (4 if with_order else 2) + columns[column, 1]
                x, y = old[word], old_f[word]
        update(tiled[a, 0], out, out_f, into + tiled[a, 2], x, y)
    for i in range(len(firsts)):
        if _valid(index, firsts[i], old, raw_base, row_words, rows, begin):
            event, created, event_id, value = _record_of(index, columns, firsts[i], old, raw_base, row_words, rows, begin)
            _keep_first(
                event,
                created,
                event_id,
                value,
                out,
                into + first_word + i * RECORD_WORDS,
                old_bytes,
                heap_base,
                new_heap,
            )


@kernel
def _record_of(index, columns, column, old, raw_base, row_words, rows, begin):  # type: ignore[no-untyped-def]
    """Event time, created time, id and value of a row; references into the new heap are marked."""
    is_text = columns[column, 0] == BYTES
    if index < 0:
        r = begin - 1 - index
        value = rows[r, NEW_FIXED + columns[column, 1]]
        return rows[r, 0], rows[r, 2], rows[r, 3] | _FROM_NEW, (value | _FROM_NEW if is_text else value)
    o = raw_base + index * row_words
    return old[o], old[o + 2], old[o + 3], old[o + 4 + columns[column, 1]]


@kernel
def _keep_first(event, created, event_id, value, out, place, old_bytes, heap_base, new_heap):  # type: ignore[no-untyped-def]
    if out[place] and not _marked_before(
        event, created, event_id, out[place + 1], out[place + 2], out[place + 3], old_bytes, heap_base, new_heap
    ):
        return
    out[place], out[place + 1], out[place + 2], out[place + 3], out[place + 4] = 1, event, created, event_id, value


@kernel
def _marked_before(a_at, a_created, a_id, b_at, b_created, b_id, old_bytes, heap_base, new_heap):  # type: ignore[no-untyped-def]
    """comes_before of two events whose ids may be in either heap."""
    a_new, b_new = a_id & _FROM_NEW, b_id & _FROM_NEW
    a, b = a_id & ~_FROM_NEW, b_id & ~_FROM_NEW
    if a_new and b_new:
        return comes_before(a_at, a_created, new_heap, 0, a, b_at, b_created, new_heap, 0, b)
    if a_new:
        return comes_before(a_at, a_created, new_heap, 0, a, b_at, b_created, old_bytes, heap_base, b)
    if b_new:
        return comes_before(a_at, a_created, old_bytes, heap_base, a, b_at, b_created, new_heap, 0, b)
    return comes_before(a_at, a_created, old_bytes, heap_base, a, b_at, b_created, old_bytes, heap_base, b)


@kernel
def _take_last(  # type: ignore[no-untyped-def]
    order, leaving, columns, column, old, old_bytes, raw_base, row_words, heap_base, rows, new_heap, begin, with_order,
    out, place,
):  # fmt: skip
    """The latest of the leaving rows that is not null, where it is not before the one that was kept."""
    for k in range(leaving - 1, -1, -1):
        if _valid(order[k], column, old, raw_base, row_words, rows, begin):
            event, created, event_id, value = _record_of(order[k], columns, column, old, raw_base, row_words, rows, begin)
            if not out[place] or not _marked_before(
                event, created, event_id, out[place + 1], out[place + 2], out[place + 3], old_bytes, heap_base, new_heap
            ):
                out[place], out[place + 1], out[place + 2], out[place + 3], out[place + 4] = (
                    1,
                    event,
                    created,
                    event_id,
                    value,
                )
            return


@kernel
def _write_distinct(  # type: ignore[no-untyped-def]
    order, leaving, columns, column, old, old_f, distinct_base, old_count, raw_base, row_words, rows, rows_f, begin, with_order,
    oldest, out, at,
):  # fmt: skip
    """Kept values and those of the leaving rows, in order of their key, each with when it was last seen; how many."""
    keys, seen = np.empty(leaving, np.int64), np.empty(leaving, np.int64)
    count = 0
    word = columns[column, 2] if columns[column, 0] == BYTES else columns[column, 1]
    for k in range(leaving):
        index = order[k]
        if not _valid(index, column, old, raw_base, row_words, rows, begin):
            continue
        if index < 0:
            keys[count] = rows[begin - 1 - index, NEW_FIXED + word]
        else:
            keys[count] = old[raw_base + index * row_words + (4 if with_order else 2) + word]
        seen[count] = _event_time(index, old, raw_base, row_words, rows, begin)
        count += 1
    ranked = np.argsort(keys[:count], kind="mergesort")
    written, o, k = 0, 0, 0
    while o < old_count or k < count:
        take_old = k >= count or (o < old_count and old[distinct_base + 2 * o] <= keys[ranked[k]])
        if take_old:
            key, last = old[distinct_base + 2 * o], old[distinct_base + 2 * o + 1]
            o += 1
        else:
            key, last = keys[ranked[k]], seen[ranked[k]]
            k += 1
        if written and out[at + 2 * written - 2] == key:
            out[at + 2 * written - 1] = max(out[at + 2 * written - 1], last)
        elif last >= oldest or (k < count and keys[ranked[k]] == key) or (o < old_count and old[distinct_base + 2 * o] == key):
            out[at + 2 * written], out[at + 2 * written + 1] = key, last
            written += 1
    kept = 0
    for k in range(written):
        if out[at + 2 * k + 1] >= oldest:
            out[at + 2 * kept], out[at + 2 * kept + 1] = out[at + 2 * k], out[at + 2 * k + 1]
            kept += 1
    return kept
