"""The heap of a written state: ids and texts in the order of the words that refer to them, each reference its own copy."""

from plumbline.compiled import inlined
from plumbline.plan import BYTES, Plan
from plumbline.state_parts import Parts, States, last_record
from plumbline.state_records import Texts, byte_of, length_of
from plumbline.state_words import FIXED_WORDS, ID, RECORD_WORDS, REFERENCE_BITS


@inlined
def write_heap(plan: Plan, written: Parts, texts: Texts, out: States, at: int) -> int:
    """Copy what a written state refers to behind its last word `at`, padded to whole words; how many bytes.

    Raw rows come first, then the records in tiles, then those of last. From here on references are the state's own.
    """
    heap = 0
    ordered = written.fixed == FIXED_WORDS
    for k in range(written.row_count):
        row = written.rows + k * written.row_words
        if ordered:
            heap = _copy(texts, out, row + ID, at, heap)
        for word in plan.texts:
            heap = _copy(texts, out, row + written.fixed + word, at, heap)
    for t in range(written.tile_count):
        records = written.tiles + t * plan.tile_words + plan.first_word
        for i in range(len(plan.firsts)):
            heap = _copy_record(plan, texts, out, records + i * RECORD_WORDS, plan.firsts[i], at, heap)
    for i in range(len(plan.lasts)):
        heap = _copy_record(plan, texts, out, last_record(written.begin, i), plan.lasts[i], at, heap)
    for k in range(8 * at + heap, 8 * at + (heap + 7) // 8 * 8):
        out.heap[k] = 0
    return heap


@inlined
def _copy_record(plan: Plan, texts: Texts, out: States, place: int, column: int, at: int, heap: int) -> int:
    if not out.words[place]:
        return heap
    heap = _copy(texts, out, place + 3, at, heap)
    return _copy(texts, out, place + 4, at, heap) if plan.columns[column].storage == BYTES else heap


@inlined
def _copy(texts: Texts, out: States, word: int, at: int, heap: int) -> int:
    """Copy what a word refers to and make it refer to the copy; where the heap ends."""
    reference = out.words[word]
    out.words[word] = heap << REFERENCE_BITS | length_of(reference)
    for k in range(length_of(reference)):
        out.heap[8 * at + heap + k] = byte_of(texts, reference, k)
    return heap + length_of(reference)
