"""Tiles: the events before the head as partial aggregates, the coarser the older.

stored tiles   [a 5 m][b 5 m] . . [k 5 m]               in order of their start
rows that left                     x x   x    x         in order of time
written        [   a + b, 1 h   ][k + x 5 m][x 5 m]     each goes into the tile that is right for the new reach
"""

import numpy as np

from plumbline.aggregates import merge, update
from plumbline.compiled import inlined
from plumbline.fold_rows import Folding, is_valid
from plumbline.fold_times import tile_start
from plumbline.state_parts import States
from plumbline.state_records import Record, Texts, comes_before, record_of_row, stored_record, write_record, written_record
from plumbline.state_words import EVENT, FIXED_WORDS, NEVER, RECORD_WORDS


@inlined
def write_tiles(folding: Folding, out: States, at: int) -> int:
    """Write the tiles of the stored tiles and the leaving rows to out.words[at:]; where they end."""
    plan, parts, reach = folding.plan, folding.parts, folding.times.reach
    first, tile, row = at, 0, 0
    while tile < parts.tile_count or row < folding.leaving:
        tile_to, row_to = NEVER, NEVER
        stored = parts.tiles + tile * plan.tile_words
        if tile < parts.tile_count:
            tile_to = tile_start(plan, reach, folding.states.words[stored])
        if row < folding.leaving:
            row_to = tile_start(plan, reach, folding.room.rows[row, EVENT])
        takes_tile = tile < parts.tile_count and (row == folding.leaving or tile_to <= row_to)
        start = tile_to if takes_tile else row_to
        if start != NEVER:
            if at == first or out.words[at - plan.tile_words] != start:
                out.words[at : at + plan.tile_words] = 0
                out.words[at] = start
                at += plan.tile_words
            if takes_tile:
                _merge_tile(folding, stored, out, at - plan.tile_words)
            else:
                _take_row(folding, row, out, at - plan.tile_words)
        if takes_tile:
            tile += 1
        else:
            row += 1
    return at


@inlined
def _merge_tile(folding: Folding, stored: int, out: States, tile: int) -> None:
    plan, states = folding.plan, folding.states
    for aggregate in plan.aggregates:
        word = aggregate.word
        merge(aggregate.code, out.words, out.floats, tile + word, states.words, states.floats, stored + word)
    for i in range(len(plan.firsts)):
        place = plan.first_word + i * RECORD_WORDS
        if states.words[stored + place]:
            record = stored_record(plan, states, folding.parts, stored + place, plan.firsts[i])
            _keep_first(folding.texts, record, out.words, tile + place)


@inlined
def _take_row(folding: Folding, row: int, out: States, tile: int) -> None:
    plan, rows = folding.plan, folding.room.rows
    floats = rows.view(np.float64)
    for aggregate in plan.aggregates:
        if is_valid(rows, row, aggregate.column):
            x, y, word = 0, 0.0, plan.columns[aggregate.column].value_word
            if word >= 0:
                x, y = rows[row, FIXED_WORDS + word], floats[row, FIXED_WORDS + word]
            update(aggregate.code, out.words, out.floats, tile + aggregate.word, x, y)
    for i in range(len(plan.firsts)):
        if is_valid(rows, row, plan.firsts[i]):
            record = record_of_row(plan, rows, row, plan.firsts[i])
            _keep_first(folding.texts, record, out.words, tile + plan.first_word + i * RECORD_WORDS)


@inlined
def _keep_first(texts: Texts, record: Record, words: np.ndarray, place: int) -> None:
    if not words[place] or comes_before(texts, record, written_record(words, place)):
        write_record(record, words, place)
